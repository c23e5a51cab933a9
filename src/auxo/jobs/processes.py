"""Runs on this machine, each in a process of its own."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from auxo.errors import ConfigError, OutputError
from auxo.files.moved import list_moved
from auxo.files.signals import StopRequest
from auxo.jobs import fork_server
from auxo.jobs.execution import AbstractExecutor, wish_to_stop
from auxo.jobs.job import Job, Outcome, is_finished
from auxo.jobs.supervision import WorkerProcess, available_cores, end_all, make_environment
from auxo.runs.document import outside_files, to_json

_LOOK_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class LocalProcesses(AbstractExecutor):
    """Processes on this machine; no run lets another fail.

    The processes end when this one is gone, even by SIGKILL, after they have saved the state of their runs.

    Args:
        processes: runs at a time, >= 1; ``None`` is one for every core, or one where there is a GPU.
        threads: CPU threads of a run whose config leaves the choice, >= 1; ``None`` is cores over processes.
    """

    processes: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("processes", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} >= 1", str(value), "give at least 1")

    @property
    def places(self) -> int:
        """How many runs are made at a time."""
        if self.processes is not None:
            return self.processes
        return 1 if torch.accelerator.is_available() else available_cores()

    def check(self) -> None:
        """Refuse nothing: processes can be started everywhere."""

    def execute(self, jobs: Iterator[Job], report: Callable[[Outcome], None]) -> int | None:
        """Make runs, each in a process of its own."""
        threads = self.threads or max(1, available_cores() // self.places)
        running: list[tuple[Job, WorkerProcess]] = []
        server = fork_server.ForkServer(make_environment(threads))
        with (
            wish_to_stop() as stop,
            closing(server),
            TemporaryDirectory(prefix="auxo-", ignore_cleanup_errors=True) as shared,
        ):
            start = functools.partial(_start_worker, server, Path(shared), threads)
            try:
                self._fill_places(jobs, report, running, stop, start)
            finally:
                end_all([worker for _, worker in running])
            return stop.signal_number

    def _fill_places(
        self,
        jobs: Iterator[Job],
        report: Callable[[Outcome], None],
        running: list[tuple[Job, WorkerProcess]],
        stop: StopRequest,
        start: Callable[[Job], WorkerProcess],
    ) -> None:
        """Keep every place taken until there are no jobs."""
        is_empty = False
        while not stop:
            while len(running) < self.places and not is_empty and not stop:
                job = next(jobs, None)
                is_empty = job is None
                if job is not None:
                    try:
                        running.append((job, start(job)))
                    except OutputError as error:
                        report(Outcome(job, "failed", error=str(error)))
            if is_empty and not running:
                return
            time.sleep(_LOOK_SECONDS)
            for job, worker in list(running):
                reason = worker.poll()
                if reason is not None and not stop:
                    running.remove((job, worker))
                    report(judged(job, reason, worker.seconds))


def _start_worker(server: fork_server.ForkServer, shared: Path, threads: int, job: Job) -> WorkerProcess:
    """Start a run, in a forked process where that is safe: on a device with threads of its own it is not.

    Raises:
        OutputError: it cannot even begin.
    """
    device = job.config.runtime.device
    is_on_cpu = device == "cpu" or (device == "auto" and not torch.accelerator.is_available())
    return WorkerProcess(
        document=to_json(job.config),
        code=outside_files(job.config),
        folder=job.folder,
        log=job.log,
        threads=threads,
        moved=list_moved(),
        shared=shared,
        server=server if is_on_cpu and fork_server.can_fork() else None,
    )


def judged(job: Job, reason: str, seconds: float) -> Outcome:
    """Return the outcome of a process that left.

    Args:
        job: what it was to make.
        reason: why it failed, or nothing.
        seconds: how long it took.
    """
    if not reason and not is_finished(job.folder):
        reason = f"its process left before the run was finished; see {job.log}"
    return Outcome(job, "failed" if reason else "finished", seconds, reason or None)
