"""A sweep: trials are asked for, made as runs, and told what they achieved on the validation images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from auxo.errors import AuxoError, ConfigError
from auxo.jobs import AbstractExecutor, Job, Outcome, run_jobs
from auxo.sweep.results import TrialResult, choose, read_trial
from auxo.sweep.study import Study, Trial


@dataclass(frozen=True)
class Sweep:
    """What came of the trials.

    Args:
        study: with the search space and the objective.
        folder: of the sweep.
        trials: all, in the order of their numbers.
        results: of those that are finished, by number.
    """

    study: Study
    folder: Path
    trials: list[Trial]
    results: dict[int, TrialResult]

    @property
    def ranking(self) -> list[Trial]:
        """The finished trials, the best first."""
        scores = {number: result.score for number, result in self.results.items()}
        ordered: list[Trial] = []
        while scores:
            number = choose(scores)
            del scores[number]
            ordered.append(self.trials[number])
        return ordered

    @property
    def best(self) -> Trial | None:
        """The chosen trial, or ``None`` if none is finished."""
        return next(iter(self.ranking), None)

    def run_folder(self, trial: Trial) -> Path:
        """Return where a trial was made."""
        return self.folder / trial.name


def make_trials(
    study: Study,
    folder: Path,
    *,
    num_trials: int,
    executor: AbstractExecutor,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
) -> None:
    """Make trials until there are so many, those first that were begun earlier.

    A trial that fails counts, and is not repeated; one whose values do not go together fails without a run.

    Args:
        study: suggests values.
        folder: of the sweep; the runs are made in folders within.
        num_trials: in all, with those that are there.
        executor: where runs are made.
        on_outcome: is told of each run as it ends, after the study.

    Raises:
        ConfigError: the executor cannot work.
        InterruptedRunError: a signal came; the runs have saved their state, and the same call goes on.
    """
    running: dict[str, Trial] = {}

    def jobs() -> Iterator[Job]:
        for trial in _open_trials(study, num_trials):
            place = folder / trial.name
            try:
                job = Job(trial.name, study.space.run(trial.values), place)
            except ConfigError as error:
                study.fail(trial, str(error))
                on_outcome(Outcome(Job(trial.name, study.space.config, place), "failed", error=str(error)))
                continue
            running[trial.name] = trial
            yield job

    def report(outcome: Outcome) -> None:
        trial = running.pop(outcome.job.name)
        if outcome.error is not None:
            study.fail(trial, outcome.error)
            on_outcome(outcome)
            return
        try:
            study.tell(trial, read_trial(outcome.job.folder, study.objective.rule).score)
        except AuxoError as error:
            study.fail(trial, str(error))
            outcome = Outcome(outcome.job, "failed", outcome.seconds, str(error))
        on_outcome(outcome)

    run_jobs(jobs(), executor=executor, on_outcome=report)


def _open_trials(study: Study, num_trials: int) -> Iterator[Trial]:
    """Yield the trials that were begun and not told, then new ones until there are enough."""
    earlier = study.trials
    yield from (trial for trial in earlier if trial.state == "running")
    for _ in range(len(earlier), num_trials):
        trial = study.ask()
        if trial is None:
            return
        yield trial


def read_sweep(study: Study, folder: Path) -> Sweep:
    """Return what came of the trials.

    Raises:
        CheckpointError: the records of a finished trial are gone or damaged.
    """
    trials = study.trials
    finished = [trial for trial in trials if trial.state == "finished"]
    results = {trial.number: read_trial(folder / trial.name, study.objective.rule) for trial in finished}
    return Sweep(study, folder, trials, results)
