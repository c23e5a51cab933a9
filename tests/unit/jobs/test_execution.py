"""The order of things, with an executor that only reports."""

from dataclasses import dataclass, field

import pytest

from auxo.errors import ConfigError, InterruptedRunError
from auxo.jobs import AbstractExecutor, Outcome, run_jobs
from auxo.runs.document import to_json


@dataclass(frozen=True, kw_only=True)
class Recording(AbstractExecutor):
    """Reports every job as failed, and stops by a signal after some."""

    stops_after: int | None = None
    taken: list = field(default_factory=list)

    def check(self):
        """Refuse nothing."""

    def execute(self, jobs, report):
        """Take jobs as there are places for them."""
        for job in jobs:
            if len(self.taken) == self.stops_after:
                return 15
            self.taken.append(job.name)
            report(Outcome(job, "failed", error="not made"))
        return None


def test_run_jobs__generator__next_is_taken_after_the_outcome_of_the_last(make_job):
    events = []

    def jobs():
        for seed in range(3):
            events.append(f"take {seed}")
            yield make_job(seed=seed)

    run_jobs(jobs(), executor=Recording(), on_outcome=lambda outcome: events.append(f"told {outcome.job.config.seed}"))
    assert events == ["take 0", "told 0", "take 1", "told 1", "take 2", "told 2"]


def test_run_jobs__stopped__says_how_to_go_on(make_job):
    executor = Recording(stops_after=1)
    with pytest.raises(InterruptedRunError, match=r"signal 15 after 1 of 2: give the same command again") as error:
        run_jobs([make_job(seed=0), make_job(seed=1)], executor=executor)
    assert error.value.exit_code == 143
    assert executor.taken == ["supervised-seed0"]


def test_run_jobs__another_run_that_failed_before_it_saved_anything__makes_room(make_job):
    failed, repaired = make_job(epochs=1), make_job(epochs=2)
    failed.folder.mkdir(parents=True)
    (failed.folder / "config.json").write_text(to_json(failed.config))
    executor = Recording()
    run_jobs([repaired], executor=executor)
    assert executor.taken == [repaired.name]
    assert not (repaired.folder / "config.json").exists()  # which the run would have written again


def test_run_jobs__another_run_that_saved_its_state__refused_and_left_alone(make_job):
    begun, other = make_job(epochs=1), make_job(epochs=2)
    (begun.folder / "checkpoints").mkdir(parents=True)
    (begun.folder / "checkpoints" / "train-00000001.safetensors").write_bytes(b"")
    (begun.folder / "config.json").write_text(to_json(begun.config))
    executor = Recording()
    with pytest.raises(ConfigError, match=r"one of another config \(epochs 1, not 2\)"):
        run_jobs([other], executor=executor)
    assert executor.taken == []
    assert (begun.folder / "config.json").read_text() == to_json(begun.config)
