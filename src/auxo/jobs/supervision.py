"""A worker process, as the one that starts it sees it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from auxo.errors import OutputError
from auxo.files import make_folder
from auxo.files.signals import STOPPING
from auxo.jobs.fork_server import ForkServer
from auxo.jobs.worker import Request

_PROGRAM = "from auxo.jobs.worker import main; main()"
_GRACE_SECONDS = 60.0


def available_cores() -> int:
    """Return how many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerProcess:
    """A process that makes one run, apart from this one: whatever it does, only it dies.

    It is in a process group of its own, so that Ctrl-C reaches only the process that decides what is to be done.

    Args:
        document: config of the run, JSON.
        code: Python files of what is outside auxo.
        folder: the run directory; made if missing.
        log: file that its output is appended to, in the run directory.
        threads: CPU threads where the config leaves the choice.
        moved: new places of what the config names, by old ones.
        shared: folder through which runs share the sets that they read; ``None`` where each reads its own.
        cwd: folder that relative paths begin at; ``None`` for the present one.
        server: forks the process; ``None`` starts one that imports everything itself.

    Raises:
        OutputError: the folder or the log cannot be written.
    """

    def __init__(
        self,
        *,
        document: str,
        code: Sequence[Path],
        folder: Path,
        log: Path,
        threads: int,
        moved: Mapping[str, str],
        shared: Path | None = None,
        cwd: Path | None = None,
        server: ForkServer | None = None,
    ) -> None:
        make_folder(folder)
        self._started = time.monotonic()
        self._place = tempfile.TemporaryDirectory(prefix="auxo-")
        self._error_file = Path(self._place.name) / "error"
        request = Request(
            document=document,
            code=[str(file) for file in code],
            folder=str(folder.resolve()),
            threads=threads,
            error_file=str(self._error_file),
            path=[str(Path(place).resolve()) for place in sys.path],
            moved=dict(moved),
            shared="" if shared is None else str(shared),
        )
        try:
            self._process = _start_process(log, threads, cwd) if server is None else server.start_process(log)
        except OSError as error:
            self._place.cleanup()
            reason = (error.strerror or "an error").lower()
            raise OutputError(f"to write {log} and start a process", reason, "check the disk") from error
        self._send_request(request)

    @property
    def seconds(self) -> float:
        """How long it has been there."""
        return time.monotonic() - self._started

    def poll(self) -> str | None:
        """Return ``None`` while it works; then why it failed, in one line, or nothing (``""``) if it did not."""
        code = self._process.poll()
        if code is None:
            return None
        reason = "" if code == 0 else self._read_reason(code)
        self._close_pipe()
        return reason

    def terminate(self) -> None:
        """Ask it to save its state and leave."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._close_pipe()

    def _send_request(self, request: Request) -> None:
        """Write the request; the pipe stays open."""
        pipe = self._process.stdin
        assert pipe is not None  # it was asked for
        with suppress(BrokenPipeError):  # it has died; poll tells how
            pipe.write(json.dumps(request).encode() + b"\n")
            pipe.flush()

    def _read_reason(self, code: int) -> str:
        """Return why it failed."""
        if self._error_file.exists():
            return self._error_file.read_text(encoding="utf-8")
        if code < 0:
            name = signal.Signals(-code).name if -code in [*signal.Signals] else f"signal {-code}"
            return f"its process was ended by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
        if code - 128 in STOPPING:
            return f"its process was stopped by {signal.Signals(code - 128).name}; its state is saved"
        return f"its process left with code {code}"

    def _close_pipe(self) -> None:
        """Close the pipe of a process that is gone, and delete its temporary folder."""
        self._place.cleanup()
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):  # by what could not be sent
                self._process.stdin.close()


def make_environment(threads: int) -> dict[str, str]:
    """Return the variables of a process that makes runs."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}


def _start_process(log: Path, threads: int, cwd: Path | None) -> subprocess.Popen[bytes]:
    """Start a process of its own."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=make_environment(threads),
            cwd=cwd,
            process_group=0,
        )


def end_all(workers: list[WorkerProcess]) -> None:
    """Let processes save their state and leave; end those that take more than a minute."""
    try:
        for worker in workers:
            worker.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        for worker in workers:
            worker.kill()
