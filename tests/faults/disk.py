"""A process that dies at one of its file operations, and a disk that then has what was synchronised.

The process is a forked child that leaves by ``os._exit``, as under SIGKILL: nothing is cleaned up and no buffer
written out. What is lost in a power cut is worked out for the worst case: whatever no ``fsync`` asked for is gone.
:meth:`Disk.leave` makes what a death leaves of a copy of the folder, too, so that one process can tell it of all its
operations.
"""

import builtins
import fcntl
import io
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

Kind = Literal["killed", "half", "torn", "power"]
KINDS: tuple[Kind, ...] = ("killed", "half", "torn", "power")
"""Killed before the operation; after half of a write; with what was written and not synchronised gone; names, too."""

DIED = 77
_FAILED = 99
_ON_FILES = ("open", "write", "fsync", "close")
_ON_NAMES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "symlink")
_MOVING = ("replace", "rename")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MODES = {"a": os.O_APPEND | os.O_CREAT, "x": os.O_EXCL | os.O_CREAT, "w": os.O_CREAT | os.O_TRUNC}


class Operation(NamedTuple):
    """A file operation. Paths are relative to the root.

    Args:
        name: of the function.
        place: that it changes.
        source: what it moves there, else the same.
    """

    name: str
    place: str
    source: str


class Write(NamedTuple):
    """A write that is about to happen.

    Args:
        descriptor: of the file.
        data: the bytes.
    """

    descriptor: int
    data: bytes


@dataclass
class _Undo:
    """What takes an operation on a name back. Paths are relative to the root.

    Args:
        name: of the operation.
        place: the name; once the folder that holds it is synchronised, nothing takes the operation back.
        source: what it was moved from.
        restore: puts back what the name stood for.
    """

    name: str
    place: Path
    source: Path
    restore: Callable[[Path], None]

    def apply(self, root: Path) -> None:
        """Take it back below a folder that is as the root was."""
        at = root / self.place
        if self.name in _MOVING and os.path.lexists(at):
            shutil.move(at, root / self.source)
        elif self.name == "mkdir":
            shutil.rmtree(at, ignore_errors=True)
        elif self.name in ("open", "symlink"):
            at.unlink(missing_ok=True)
        if at.parent.is_dir():
            self.restore(at)

    def follow(self, moved: "_Undo") -> None:
        """Have its paths where they are now that a folder above them has been moved for good."""
        for name in ("place", "source"):
            path = getattr(self, name)
            if path.is_relative_to(moved.source):
                setattr(self, name, moved.place / path.relative_to(moved.source))


class _Raw(io.RawIOBase):
    """A file whose writes go through ``os.write``."""

    def __init__(self, descriptor):
        self._descriptor = descriptor

    def writable(self):
        return True

    def fileno(self):
        return self._descriptor

    def write(self, data):
        return os.write(self._descriptor, data)

    def close(self):
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@dataclass
class Disk:
    """The file operations of this process below a folder, counted, one of which it does not survive.

    Args:
        root: operations elsewhere do not count; an absolute path without links.
        fatal: number of the operation that it dies at, from 0; -1 for none.
        kind: how it dies.
        look: is called before each operation, with the write that it is, if it is one.
    """

    root: Path
    fatal: int = -1
    kind: Kind = "killed"
    look: Callable[[Write | None], None] = lambda write: None
    done: list[Operation] = field(default_factory=list)
    """What was done, in order."""
    _open_ones: set[int] = field(default_factory=set)
    _synced: dict[int, int] = field(default_factory=dict)
    _undo: list[_Undo] = field(default_factory=list)

    def install(self) -> None:
        """Stand in front of the functions that change files, for the rest of this process."""
        self._own = {name: getattr(os, name) for name in (*_ON_FILES, *_ON_NAMES)}
        self._own_open = io.open
        self._stand_in_front()

    def leave(self, place: Path, kind: Kind, write: Write | None) -> None:
        """Leave in the root, or in a copy of it as it is now, what a death at this moment leaves there.

        Args:
            place: the root or the copy.
            kind: how it dies.
            write: that is about to happen, if one is.
        """
        if kind == "half" and write is not None:
            self._write_half(place, write)
        if kind in ("torn", "power"):
            self._lose(place, names=kind == "power")

    def _stand_in_front(self):
        for name in _ON_FILES:
            setattr(os, name, getattr(self, f"_{name}"))
        for name in _ON_NAMES:
            setattr(os, name, self._naming(name, self._own[name]))
        builtins.open = io.open = self._open_object  # the second is what Path.open calls

    @contextmanager
    def _stand_aside(self):
        for name, own in self._own.items():
            setattr(os, name, own)
        builtins.open = io.open = self._own_open
        yield
        self._stand_in_front()

    def _begin(self, name, place, *, source=None, write=None):
        """Count an operation, and die at it if it is the one."""
        with self._stand_aside():
            self.look(write)
            if len(self.done) == self.fatal:
                self.leave(self.root, self.kind, write)
                sys.stdout.flush()
                os._exit(DIED)
        self.done.append(Operation(name, *(str(path.relative_to(self.root)) for path in (place, source or place))))

    def _find_place(self, path, folder=None):
        """Return where a path is if that is below the root."""
        if not isinstance(path, str | Path):
            return None
        base = os.getcwd() if folder is None else self._place_of(folder)
        place = Path(os.path.normpath(os.path.join(base, path)))
        return place if place.is_relative_to(self.root) else None

    @staticmethod
    def _place_of(descriptor):
        """Return where an open file or folder is now."""
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))

    def _open(self, path, flags, mode=0o777, *, dir_fd=None):
        place = self._find_place(path, dir_fd)
        is_written = place is not None and bool(flags & _WRITING)
        is_new = is_written and not place.exists()
        assert not is_written or is_new or not flags & os.O_TRUNC, f"{place} would be emptied, of which nothing is kept"
        if is_new:
            self._begin("open", place)
            self._note_undo("open", place, place)
        descriptor = self._own["open"](path, flags, mode, dir_fd=dir_fd)
        if place is not None:
            self._open_ones.add(descriptor)
        if is_written:
            known = os.fstat(descriptor)
            if is_new:  # its number is perhaps that of a file that is gone
                self._synced[known.st_ino] = 0
            self._synced.setdefault(known.st_ino, known.st_size)
        return descriptor

    def _open_object(self, file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **more):
        """Return a file object whose writes count, where it is one of a file below the root that is written."""
        if self._find_place(file) is None or not set(mode) & set("wax+"):
            return self._own_open(file, mode, buffering, encoding, errors, newline, **more)
        descriptor = os.open(file, os.O_WRONLY | _MODES[mode.replace("b", "").replace("t", "")], 0o666)
        buffer = io.BufferedWriter(_Raw(descriptor))
        return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)

    def _write(self, descriptor, data):
        if descriptor in self._open_ones:
            self._begin("write", self._place_of(descriptor), write=Write(descriptor, bytes(data)))
        return self._own["write"](descriptor, data)

    def _fsync(self, descriptor):
        if descriptor not in self._open_ones:
            return self._own["fsync"](descriptor)
        place, known = self._place_of(descriptor), os.fstat(descriptor)
        self._begin("fsync", place)
        if place.is_dir():
            self._settle(place.relative_to(self.root))
        else:
            self._synced[known.st_ino] = known.st_size
        return None  # a real one would only take time

    def _settle(self, folder):
        """Forget what takes back the operations on the names in a folder."""
        kept = []
        for undo in self._undo:
            if undo.place.parent != folder:
                kept.append(undo)
            elif undo.name in _MOVING:
                for earlier in kept:
                    earlier.follow(undo)
        self._undo = kept

    def _close(self, descriptor):
        self._open_ones.discard(descriptor)
        self._own["close"](descriptor)

    def _naming(self, name, own):
        """Return an operation on names, with what takes it back noted."""

        def operate(path, *rest, dir_fd=None, **more):
            given = more if dir_fd is None else {"dir_fd": dir_fd, **more}
            place = self._find_place(rest[0] if name in (*_MOVING, "symlink") else path, dir_fd)
            if place is None:
                return own(path, *rest, **given)
            source = self._find_place(path, dir_fd) if name in _MOVING else place
            self._begin(name, place, source=source)
            undo = self._note_undo(name, place, source)
            try:
                return own(path, *rest, **given)
            except OSError:
                self._undo.remove(undo)
                raise

        return operate

    def _note_undo(self, name, place, source):
        here, before = (path.relative_to(self.root) for path in (place, source))
        self._undo.append(_Undo(name, here, before, self._restoring(place)))
        return self._undo[-1]

    def _restoring(self, place):
        """Return what puts back what a name stands for now."""
        if place.is_symlink():
            aim = place.readlink()
            return lambda at: at.symlink_to(aim)
        if place.is_dir():
            return lambda at: at.mkdir(exist_ok=True)
        if not place.exists():
            return lambda at: None
        known = place.stat()
        content = place.read_bytes()[: self._synced.get(known.st_ino, known.st_size)]
        return lambda at: at.write_bytes(content)

    def _write_half(self, place, write):
        """Write the first half of the bytes."""
        half, path = write.data[: len(write.data) // 2], self._place_of(write.descriptor)
        if place == self.root:
            os.write(write.descriptor, half)
        elif path.exists():  # else the file has no name any more
            with (place / path.relative_to(self.root)).open("r+b") as file:
                is_at_end = fcntl.fcntl(write.descriptor, fcntl.F_GETFL) & os.O_APPEND
                file.seek(*((0, os.SEEK_END) if is_at_end else (os.lseek(write.descriptor, 0, os.SEEK_CUR),)))
                file.write(half)

    def _lose(self, place, *, names):
        """Leave what was synchronised, and nothing else."""
        for path in [*self.root.rglob("*")]:
            known = path.lstat()
            if path.is_file() and known.st_size > (size := self._synced.get(known.st_ino, known.st_size)):
                os.truncate(place / path.relative_to(self.root), size)
        if names:
            for undo in reversed(self._undo):
                undo.apply(place)


def run_in_child(work: Callable[[], int], disk: Disk | None = None) -> int:
    """Return the exit code of some work in a forked child.

    Args:
        work: the work.
        disk: stands in front of its file operations.

    Raises:
        AssertionError: the child was ended by a signal.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        child = os.fork()
    if child == 0:
        code = _FAILED
        try:
            if disk is not None:
                disk.install()
            code = work()
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:  # noqa: BLE001  (whatever it is, it must not go on in the parent's test)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFEXITED(status), f"the child was ended by signal {os.WTERMSIG(status)}"
    return os.WEXITSTATUS(status)
