"""The process that makes one run, and stops when the one that started it is gone.

The first line of its standard input is the request; the input then stays open for as long as the other process lives.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TypedDict

import torch

from auxo.data.shared import sharing_sets
from auxo.errors import AuxoError, InterruptedRunError, OutputError
from auxo.files.lock import locked_folder
from auxo.files.moved import MovedPlaces, finding_moved
from auxo.runs.document import config_digest, from_json
from auxo.runs.results import EvaluationRow
from auxo.runtime import open_runtime
from auxo.training import SilentObserver, train_run

_GRACE_SECONDS = 600.0
_PATIENCE_SECONDS = _GRACE_SECONDS + 30.0  # longer than one whose parent is gone may take


class Request(TypedDict):
    """What a worker is asked to do; JSON.

    Args:
        document: the run's config, as ``config.json`` is to hold it.
        code: Python files of what is outside auxo that may be run.
        folder: the run directory.
        threads: CPU threads where the config leaves the choice.
        error_file: where the reason of a failure is to be written, in one line.
        path: Python's search path of the process that asks.
        moved: new places of what the config names, by old ones.
        shared: folder through which processes share the sets that they read; "" for none.
    """

    document: str
    code: list[str]
    folder: str
    threads: int
    error_file: str
    path: list[str]
    moved: dict[str, str]
    shared: str


class _LogObserver(SilentObserver):
    """Tells of progress in the log."""

    def noted(self, note: str) -> None:
        """Say what a person should know of the data."""
        _write_log(f"note: {note}")

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Say where the stage begins."""
        _write_log(f"{stage}: step {step} of {num_steps}")

    def evaluated(self, epoch: int, rows: list[EvaluationRow]) -> None:
        """Say how good every head is."""
        _write_log(f"epoch {epoch}: " + ", ".join(f"{row.split} {row.head} {row.main.describe()}" for row in rows))


def main() -> None:
    """Make the run that standard input asks for and exit: 0, or an error's code with its reason in a file."""
    request: Request = json.loads(sys.stdin.buffer.readline())
    sys.path.extend(place for place in request["path"] if place not in sys.path)
    threading.Thread(target=_end_with_parent, args=[request["shared"]], daemon=True).start()
    _write_log(f"process {os.getpid()} begins at {time.strftime('%Y-%m-%d %H:%M:%S')}")
    try:
        _train_run(request)
    except InterruptedRunError as error:
        _write_log(str(error))
        sys.exit(error.exit_code)
    except AuxoError as error:
        _write_failure(request, " ".join(str(error).split()))
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001  # a stranger's method may raise anything
        _write_failure(request, _one_line(error))
        sys.exit(1)


def _train_run(request: Request) -> None:
    """Make the run, or go on with it."""
    folder = Path(request["folder"])
    config = from_json(request["document"], origin=str(folder / "config.json"), code=request["code"])
    if config.runtime.threads == 0:
        torch.set_num_threads(request["threads"])
    if (folder / ".lock").exists():
        _wait_for(folder)
    shared = Path(request["shared"]) if request["shared"] else None
    moved = finding_moved(MovedPlaces(request["moved"]))
    with open_runtime(config.runtime) as runtime, moved, sharing_sets(shared):
        train_run(
            config,
            document=request["document"],
            digest=config_digest(config),
            folder=folder,
            runtime=runtime,
            observer=_LogObserver(),
        )


def _wait_for(folder: Path) -> None:
    """Wait until an earlier worker, whose parent is gone, has saved its state; not for ever."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with locked_folder(folder):
                return
        except OutputError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _end_with_parent(shared: str) -> None:
    """Ask this process to stop, so that it saves its state, once standard input ends; end it if it does not."""
    while os.read(0, 1024):
        pass
    if shared:  # nobody else is left to delete it; files that are mapped stay until they are let go
        shutil.rmtree(shared, ignore_errors=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _write_failure(request: Request, reason: str) -> None:
    """Leave the traceback in the log and the reason where it is looked for."""
    traceback.print_exc()
    Path(request["error_file"]).write_text(reason, encoding="utf-8")


def _one_line(error: Exception) -> str:
    """Return what went wrong, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    reason = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}{': ' if reason else ''}{reason} ({Path(frame.filename).name}, line {frame.lineno})"


def _write_log(line: str) -> None:
    """Write a line into the log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
