"""Runs over a cluster by Ray; an extra to install."""

import importlib
import os
import re
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from auxo.errors import ConfigError, DeviceError, OutputError
from auxo.files import make_folder, write_atomically
from auxo.files.signals import StopRequest
from auxo.jobs.execution import AbstractExecutor, wish_to_stop
from auxo.jobs.job import Job, Outcome
from auxo.jobs.parcel import pack_folder, unpack_folder
from auxo.jobs.processes import judged
from auxo.jobs.ray_task import Answer, make_order, work

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 90.0
_LISTEN_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class RayCluster(AbstractExecutor):
    """Processes on the machines of a Ray cluster, one for every run.

    A run trains in its own folder where the machine sees the folders of this one, as on a shared disk; elsewhere in a
    temporary folder whose files are sent back when it ends. Every machine needs this version of auxo, and the data at
    the same paths; Python files of your own are sent along.

    Args:
        address: "auto" for the cluster that this machine belongs to, "local" to start one on this machine for as long
            as the runs take, whose ports listen on all interfaces and want a token that only this process knows,
            "host:port" of a cluster's head, or "ray://host:port" of its client server. A process that is connected
            already stays so.
        cpus: cores that a run takes, which are its threads where its config leaves the choice, >= 1.
        gpus: GPUs that a run takes, >= 0; half of one means that two runs share it.
    """

    address: str = "auto"
    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise ConfigError("cores of a run >= 1", str(self.cpus), "give at least 1")
        if not self.gpus >= 0:
            raise ConfigError("GPUs of a run >= 0", str(self.gpus), "give 0 for none")
        if not self.address:
            raise ConfigError("the address of a Ray cluster", "''", "give auto, local, host:port or ray://host:port")

    def check(self) -> None:
        """Refuse to begin where Ray is not installed, or the cluster does not answer or has no room for a run.

        Raises:
            ConfigError: Ray is missing.
            DeviceError: there is no such cluster, or no machine of it has room.
        """
        _import_ray(self.address)
        if self.address != "local":
            with _connect_to(self.address) as ray:
                self._check_room(ray)

    def execute(self, jobs: Iterator[Job], report: Callable[[Outcome], None]) -> int | None:
        """Make runs as tasks of Ray."""
        with _connect_to(self.address) as ray:
            self._check_room(ray)
            remote = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)(work)
            board = _Board(ray, remote, report, cpus=self.cpus, gpus=self.gpus)
            with wish_to_stop() as stop:
                try:
                    board.work_off(jobs, stop)
                finally:
                    board.close()
                return stop.signal_number

    def _check_room(self, ray: ModuleType) -> None:
        """Refuse runs that no machine of the cluster has room for."""
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(m.get("CPU", 0) >= self.cpus and m.get("GPU", 0) >= self.gpus for m in machines):
            most = max((m.get("CPU", 0) for m in machines), default=0)
            got = f"machines of at most {most:g} cores and {max((m.get('GPU', 0) for m in machines), default=0):g} GPUs"
            expected = f"a machine with {self.cpus} cores and {self.gpus:g} GPUs for a run in the Ray cluster"
            raise DeviceError(expected, got, "ask for less")


@dataclass
class _Board:
    """The runs that a cluster works on.

    Args:
        ray: the module.
        remote: the task.
        report: is told of outcomes.
        cpus: of a run.
        gpus: of a run.
    """

    ray: ModuleType
    remote: Any
    report: Callable[[Outcome], None]
    cpus: int
    gpus: float
    running: dict[object, Job] = field(default_factory=dict)
    tokens: dict[Path, str] = field(default_factory=dict)

    def work_off(self, jobs: Iterator[Job], stop: StopRequest) -> None:
        """Keep every place of the cluster taken, and one run waiting, so that a cluster that can grow does."""
        is_empty = False
        while not stop:
            places = self._count_places()
            while len(self.running) <= places and not is_empty and not stop:
                job = next(jobs, None)
                is_empty = job is None
                if job is not None:
                    self._submit_run(job)
            if is_empty and not self.running:
                return
            done, _ = self.ray.wait(list(self.running), num_returns=1, timeout=_LOOK_SECONDS)
            for reference in done:
                self.report(self._collect_outcome(reference, self.running.pop(reference)))

    def close(self) -> None:
        """Let what still runs save its state, and forget the tokens."""
        for reference in self.running:
            self.ray.cancel(reference)
        if self.running:
            self.ray.wait(list(self.running), num_returns=len(self.running), timeout=_GRACE_SECONDS)
        for folder, token in self.tokens.items():
            (folder / token).unlink(missing_ok=True)

    def _count_places(self) -> int:
        """Return how many runs the cluster has room for."""
        has = self.ray.cluster_resources()
        places = int(has.get("CPU", 0) // self.cpus)
        return max(1, min(places, int(has.get("GPU", 0) / self.gpus)) if self.gpus else places)

    def _submit_run(self, job: Job) -> None:
        """Hand a run over to the cluster; one whose folder cannot be written has failed."""
        try:
            parent = make_folder(job.folder).resolve().parent
            if parent not in self.tokens:
                token = f".{secrets.token_hex(8)}.token"
                write_atomically(parent / token, token)
                self.tokens[parent] = token
            files = pack_folder(job.folder) if (job.folder / "checkpoints").is_dir() else None
            order = make_order(job, token=self.tokens[parent], files=files, threads=self.cpus)
        except OutputError as error:
            self.report(Outcome(job, "failed", error=str(error)))
            return
        self.running[self.remote.remote(order)] = job

    def _collect_outcome(self, reference: object, job: Job) -> Outcome:
        """Put what a task sent back into place and return its outcome."""
        try:
            answer: Answer = self.ray.get(reference)
            if answer["files"] is not None:
                unpack_folder(answer["files"], job.folder)
        except OutputError as error:
            return Outcome(job, "failed", error=str(error))
        except self.ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return Outcome(job, "failed", error=f"Ray: {type(error).__name__}: {lines[-1] if lines else ''}")
        return judged(job, answer["reason"], answer["seconds"])


@contextmanager
def _connect_to(address: str) -> Iterator[ModuleType]:
    """Connect to a cluster, unless that is done; the connection, or the local cluster, ends with the block."""
    ray = _import_ray(address)
    if ray.is_initialized():
        yield ray
        return
    _require_listener(address)
    before = signal.getsignal(signal.SIGTERM)  # Ray puts a handler of its own there
    options = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ImportError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        fix = "start one with ray start --head, or pass local"
        raise DeviceError(f"a Ray cluster at {address}", reason, fix) from error
    try:
        yield ray
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():  # elsewhere it has put none there
            signal.signal(signal.SIGTERM, before)


def _draw_token() -> None:
    """Let clusters that this process starts answer only those who know a secret: their ports are open to the network.

    Ray reads it when it is imported, and hands it on to the processes of the cluster. Where the user has chosen how
    clusters are protected, or has imported Ray already, that stays.
    """
    if not os.environ.get("RAY_AUTH_MODE") and "ray" not in sys.modules:
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})


def _require_listener(address: str) -> None:
    """Refuse an address at which nothing listens, which Ray would try for minutes."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\s]+?)\]?:(\d+)", address)
    if found is None:
        return
    try:
        socket.create_connection((found[1], int(found[2])), timeout=_LISTEN_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = f"nothing that answers there ({str(error).lower()})"
        raise DeviceError(f"a Ray cluster at {address}", reason, "check host and port, and that it runs") from error


def _import_ray(address: str) -> ModuleType:
    """Import Ray, with a secret for the cluster if it is to be started here."""
    if address == "local":
        _draw_token()
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError(
            "the package ray for a cluster", f"an import that failed ({error})", "pip install 'auxo[ray]'"
        ) from error
