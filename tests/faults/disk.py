"""A process that dies at one of its file operations, and a disk that then has what was synchronised.

The process is a forked child that leaves by ``os._exit``, as under SIGKILL: nothing is cleaned up and no buffer
written out. What is lost in a power cut is worked out for the worst case: whatever no ``fsync`` asked for is gone.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["killed", "half", "torn", "power"]
KINDS: tuple[Kind, ...] = ("killed", "half", "torn", "power")
"""Killed before the operation; after half of a write; with what was written and not synchronised gone; names, too."""

DIED = 77
_ON_FILES = ("open", "write", "fsync", "close")
_ON_NAMES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Disk:
    """The file operations of this process below a folder, counted, one of which it does not survive.

    Args:
        root: operations elsewhere do not count.
        fatal: number of the operation that it dies at, from 0; -1 for none.
        kind: how it dies.
    """

    root: Path
    fatal: int = -1
    kind: Kind = "killed"
    names: list[str] = field(default_factory=list)
    """What was done, in order."""
    _paths: dict[int, Path] = field(default_factory=dict)
    _synced: dict[int, int] = field(default_factory=dict)
    _undo: list[tuple[Path, Callable[[], None]]] = field(default_factory=list)

    def install(self) -> None:
        """Stand in front of the functions of ``os`` that change files, for the rest of this process."""
        self._own = {name: getattr(os, name) for name in (*_ON_FILES, *_ON_NAMES)}
        for name in _ON_FILES:
            setattr(os, name, getattr(self, f"_{name}"))
        for name in _ON_NAMES:
            setattr(os, name, self._naming(name, self._own[name]))

    def _begin(self, name: str, path: Path, half: Callable[[], None] = lambda: None) -> None:
        """Count an operation, and die at it if it is the one."""
        if len(self.names) == self.fatal:
            if self.kind == "half":
                half()
            if self.kind in ("torn", "power"):
                self._lose()
            sys.stdout.flush()
            os._exit(DIED)
        self.names.append(f"{name} {path.relative_to(self.root)}")

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, str | Path) and Path(os.path.abspath(path)).is_relative_to(self.root)

    def _open(self, path, flags, mode=0o777, **more):
        if not self._is_ours(path) or not flags & _WRITING:
            descriptor = self._own["open"](path, flags, mode, **more)
            if self._is_ours(path):
                self._paths[descriptor] = Path(os.path.abspath(path))
            return descriptor
        place = Path(os.path.abspath(path))
        is_new = not place.exists()
        if is_new:
            self._begin("open", place)
        descriptor = self._own["open"](path, flags, mode, **more)
        self._paths[descriptor] = place
        known = os.fstat(descriptor)
        self._synced.setdefault(known.st_ino, 0 if is_new else known.st_size)
        if is_new:
            self._undo.append((place.parent, lambda: place.unlink(missing_ok=True)))
        return descriptor

    def _write(self, descriptor, data):
        if descriptor not in self._paths:
            return self._own["write"](descriptor, data)
        half = bytes(data)[: len(data) // 2]
        self._begin("write", self._paths[descriptor], lambda: self._own["write"](descriptor, half))
        return self._own["write"](descriptor, data)

    def _fsync(self, descriptor):
        place = self._paths.get(descriptor)
        if place is None:
            return self._own["fsync"](descriptor)
        self._begin("fsync", place)
        if place.is_dir():
            self._undo = [(folder, undo) for folder, undo in self._undo if folder != place]
        else:
            known = os.fstat(descriptor)
            self._synced[known.st_ino] = known.st_size
        return None  # a real one would only take time

    def _close(self, descriptor):
        self._paths.pop(descriptor, None)
        self._own["close"](descriptor)

    def _naming(self, name, own):
        """Return an operation on names, with what takes it back noted."""

        def operate(path, *rest, **more):
            if not self._is_ours(path) or more.get("dir_fd") is not None:
                return own(path, *rest, **more)
            place = Path(os.path.abspath(rest[0] if name in ("replace", "rename") else path))
            self._begin(name, place)
            before = place.read_bytes() if place.is_file() else None
            result = own(path, *rest, **more)
            self._undo.append((place.parent, self._undoing(name, Path(os.path.abspath(path)), place, before)))
            return result

        return operate

    @staticmethod
    def _undoing(name, source, place, before):
        """Return what takes an operation on names back."""

        def undo():
            if name in ("replace", "rename") and place.exists():
                shutil.move(place, source)
            if name == "mkdir":
                shutil.rmtree(place, ignore_errors=True)
            if before is not None and place.parent.is_dir():
                place.write_bytes(before)

        return undo

    def _lose(self) -> None:
        """Leave on the disk what was synchronised, and nothing else."""
        for name, own in self._own.items():
            setattr(os, name, own)
        for path in self.root.rglob("*"):
            known = path.stat()
            if path.is_file() and known.st_ino in self._synced and known.st_size > self._synced[known.st_ino]:
                os.truncate(path, self._synced[known.st_ino])
        if self.kind == "power":
            for _, undo in reversed(self._undo):
                undo()


def run_in_child(work: Callable[[], int], disk: Disk, report: Path) -> int:
    """Return the exit code of some work in a forked child; ``report`` has the names of its operations.

    Raises:
        AssertionError: the child died of something else.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        child = os.fork()
    if child == 0:
        code = 99
        try:
            disk.install()
            code = work()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            report.write_text("\n".join(disk.names))
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status), f"the child was ended by signal {os.WTERMSIG(status)}"
    return os.WEXITSTATUS(status)
