"""Runs that are made once, wherever they are made."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from auxo.errors import InterruptedRunError
from auxo.files.signals import StopRequest, stop_on_signal
from auxo.jobs.job import Job, Outcome, check_job, check_jobs, forget_untrained


@dataclass(frozen=True, kw_only=True)
class AbstractExecutor(ABC):
    """Where runs are made."""

    @abstractmethod
    def check(self) -> None:
        """Refuse what cannot work, before anything is written.

        Raises:
            AuxoError: something is not installed, or not there.
        """

    @abstractmethod
    def execute(self, jobs: Iterator[Job], report: Callable[[Outcome], None]) -> int | None:
        """Make runs.

        Args:
            jobs: the next is taken when there is a place for it.
            report: is told of each as it ends, in this thread.

        Returns:
            The signal that asked to stop, after every run that was being made has saved its state; else ``None``.

        Raises:
            ConfigError: runs cannot be made there.
        """


def run_jobs(
    jobs: Iterable[Job], *, executor: AbstractExecutor, on_outcome: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Make the runs that are not finished, go on with those that were interrupted, and return what became of all.

    A run that fails, whatever its method raises and however its process dies, leaves the others alone. What a run
    says, and the traceback of one that failed, is in ``log.txt`` in its folder.

    Args:
        jobs: what to make. A sequence is checked as a whole before anything begins, and its outcomes are returned in
            its order. Of any other iterable, such as a generator that looks at earlier outcomes, the next job is
            taken when there is a place for it; outcomes are returned in the order in which they came.
        executor: where to make them.
        on_outcome: is told of each as it ends, before the next job is taken; first of those that are reused.

    Raises:
        ConfigError: two jobs have one name or folder, a folder holds a run of another config, or the executor cannot
            work.
        InterruptedRunError: SIGINT or SIGTERM came. The runs have saved their state: the same call goes on.
    """
    outcomes: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if on_outcome is not None:
            on_outcome(outcome)

    ordered: list[Job] | None = None
    if isinstance(jobs, Sequence):
        ordered = list(jobs)
        check_jobs(ordered)
    number = executor.execute(_find_unfinished(jobs if ordered is None else ordered, report), report)
    if number is not None:
        got = f"signal {number} after {len(outcomes)}{'' if ordered is None else f' of {len(ordered)}'}"
        fix = "give the same command again; what is finished is kept, and what was begun goes on"
        raise InterruptedRunError("all runs to end", got, fix, number)
    if ordered is not None:
        places = {job.name: place for place, job in enumerate(ordered)}
        outcomes.sort(key=lambda outcome: places[outcome.job.name])
    return outcomes


def _find_unfinished(jobs: Iterable[Job], report: Callable[[Outcome], None]) -> Iterator[Job]:
    """Yield the jobs whose run is not finished; report the others, all of a sequence first."""
    waiting: list[Job] = []
    for job in jobs:
        if check_job(job):
            report(Outcome(job, "reused"))
        else:
            forget_untrained(job)
            if isinstance(jobs, Sequence):
                waiting.append(job)
            else:
                yield job
    yield from waiting


@contextmanager
def wish_to_stop() -> Iterator[StopRequest]:
    """Turn signals into a wish to stop within the block; outside the main thread, where none arrive, never."""
    if threading.current_thread() is threading.main_thread():
        with stop_on_signal() as stop:
            yield stop
    else:
        yield StopRequest()
