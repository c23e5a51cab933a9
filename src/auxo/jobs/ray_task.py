"""What a machine of a Ray cluster does for a run: it looks after a worker process as this machine would."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import auxo
from auxo.errors import AuxoError, ConfigError
from auxo.files.moved import list_moved
from auxo.jobs.job import Job
from auxo.jobs.parcel import pack_folder, unpack_folder
from auxo.jobs.supervision import WorkerProcess, end_all
from auxo.runs.document import outside_files, to_json

_LOOK_SECONDS = 0.1
_ENVIRONMENT = ("AUXO_DATA",)


class Order(TypedDict):
    """A run that a machine is to make.

    Args:
        version: of auxo.
        document: config of the run, JSON.
        code: Python files of what is outside auxo, each with what it holds.
        folder: the run directory on the machine that asks.
        token: name of a file beside that folder, with its own name in it: a machine that reads it sees the folder.
        files: what the folder holds so far, packed, if a run was begun there.
        threads: CPU threads where the config leaves the choice.
        moved: new places of what the config names, by old ones.
        cwd: folder that relative paths begin at, where there is such a folder.
        environment: variables to set.
    """

    version: str
    document: str
    code: Mapping[str, str]
    folder: str
    token: str
    files: bytes | None
    threads: int
    moved: Mapping[str, str]
    cwd: str
    environment: Mapping[str, str]


class Answer(TypedDict):
    """What became of it.

    Args:
        reason: why it failed, or nothing.
        seconds: how long it took.
        files: of the run, packed, where the machine does not see the folder; else ``None``.
    """

    reason: str
    seconds: float
    files: bytes | None


def make_order(job: Job, *, token: str, files: bytes | None, threads: int) -> Order:
    """Return the order for a run.

    Args:
        job: the run.
        token: see :class:`Order`.
        files: see :class:`Order`.
        threads: see :class:`Order`.
    """
    return Order(
        version=auxo.__version__,
        document=to_json(job.config),
        code={str(file): file.read_text(encoding="utf-8") for file in outside_files(job.config)},
        folder=str(job.folder.resolve()),
        token=token,
        files=files,
        threads=threads,
        moved=list_moved(),
        cwd=str(Path.cwd()),
        environment={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    )


def work(order: Order) -> Answer:
    """Make a run in its own folder if this machine sees it, else in a temporary one whose files are returned."""
    started = time.monotonic()
    folder = Path(order["folder"])
    try:
        with tempfile.TemporaryDirectory(prefix="auxo-ray-") as name:
            place = Path(name)
            _check_version(order)
            code = [_find_code(file, text, place) for file, text in order["code"].items()]
            if _sees_folder(folder, order["token"]):
                return Answer(
                    reason=_supervise_worker(order, code, folder), seconds=time.monotonic() - started, files=None
                )
            own = place / folder.name
            if order["files"] is not None:
                unpack_folder(order["files"], own)
            reason = _supervise_worker(order, code, own)
            return Answer(reason=reason, seconds=time.monotonic() - started, files=pack_folder(own))
    except AuxoError as error:
        return Answer(reason=str(error), seconds=time.monotonic() - started, files=None)


def _check_version(order: Order) -> None:
    """Refuse to train with another version of auxo than was asked for."""
    if auxo.__version__ != order["version"]:
        got = f"{auxo.__version__} on {os.uname().nodename}"
        raise ConfigError(f"auxo {order['version']} on every machine", got, "install one version everywhere")


def _sees_folder(folder: Path, token: str) -> bool:
    """Return whether the folder of the machine that asks is visible here."""
    try:
        return (folder.parent / token).read_text(encoding="utf-8") == token
    except (OSError, UnicodeDecodeError):
        return False


def _find_code(file: str, text: str, place: Path) -> Path:
    """Return a file of what is outside auxo: itself where it is the same here, else a copy."""
    path = Path(file)
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            got = f"another text on {os.uname().nodename}"
            raise ConfigError(f"one text of {path} on every machine", got, "copy it there, or delete it there")
        return path
    copy = place / "code" / path.relative_to(path.anchor)  # two files of a run may have one name
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    return copy


def _supervise_worker(order: Order, code: Sequence[Path], folder: Path) -> str:
    """Look after a worker process; return why it failed, or nothing. It ends with this task."""
    os.environ.update(order["environment"])
    cwd = Path(order["cwd"])
    worker = WorkerProcess(
        document=order["document"],
        code=code,
        folder=folder,
        log=folder / "log.txt",
        threads=order["threads"],
        moved=order["moved"],
        cwd=cwd if cwd.is_dir() else None,
    )
    try:
        while (reason := worker.poll()) is None:
            time.sleep(_LOOK_SECONDS)
        return reason
    finally:
        end_all([worker])
