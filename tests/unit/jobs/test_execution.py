"""The order of things, with an executor that only reports."""

from dataclasses import dataclass, field

import pytest

from auxo.errors import InterruptedRunError
from auxo.jobs import AbstractExecutor, Outcome, run_jobs


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
