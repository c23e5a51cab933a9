"""Things of the user's own that a run names as ``file.py:Name``: tasks, backbones, data sources, methods, recipes."""

import hashlib
import re
import sys
import sysconfig
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import SourceLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TypeVar

from auxo.errors import AuxoError, ConfigError, ForeignCodeError

_MODULE = "auxo_outside_"  # what the modules of a user's files are called

_Kind = TypeVar("_Kind")
_Made = TypeVar("_Made")

# An address such as hf://owner/name:split is none; <locals> is in the name of a class that a function defines.
_OUTSIDE = re.compile(r"(?!\w+://)(?P<path>.+\.py):(?P<name>[^\W\d][\w.<>]*)")


def is_outside(name: str) -> bool:
    """Return whether a name is one of a thing in a Python file, ``file.py:Name``."""
    return _OUTSIDE.fullmatch(name) is not None


def split_outside(name: str) -> tuple[Path, str]:
    """Return the file and the name in it of ``file.py:Name``.

    Raises:
        ConfigError: it is another name.
    """
    found = _OUTSIDE.fullmatch(name)
    if found is None:
        raise ConfigError("file.py:Name", repr(name), "name a Python file and what is in it")
    return Path(found["path"]), found["name"]


def absolute_name(name: str) -> str:
    """Return ``file.py:Name`` with the whole path of the file; any other name as it is."""
    if not is_outside(name):
        return name
    path, inner = split_outside(name)
    return f"{path.expanduser().resolve()}:{inner}"


def short_name(name: str) -> str:
    """Return ``file.py:Name`` without the folders of the file; any other name as it is.

    Example:
        >>> short_name("/home/me/net.py:Tiny"), short_name("lenet5")
        ('net.py:Tiny', 'lenet5')
    """
    if not is_outside(name):
        return name
    path, inner = split_outside(name)
    return f"{path.name}:{inner}"


def load_outside(name: str, kind: type[_Kind]) -> type[_Kind]:
    """Return a class of a Python file, which is run once for each text that it has.

    Args:
        name: ``file.py:Name``.
        kind: that the class must be one of.

    Raises:
        ConfigError: there is no such file or class, it is of another kind, or the file does not run.
    """
    path, inner, found = _find_outside(name)
    if not (isinstance(found, type) and issubclass(found, kind)):
        got = "none" if found is None else repr(found)
        what = "class" if kind is object else f"subclass of {kind.__name__}"
        raise ConfigError(f"a {what} called {inner} in {path}", got, "define it there")
    return found


def call_outside(name: str, kind: type[_Kind], *args: object, **options: object) -> _Kind:
    """Return what a class or function of a Python file makes.

    Args:
        name: ``file.py:Name``.
        kind: what must come of it.
        args: for the class or function.
        options: for it, by name.

    Raises:
        ConfigError: there is no such file, class or function, it makes something else, or it raises what is no error of
            auxo's.
    """
    path, inner, found = _find_outside(name)
    expected = f"a class or function called {inner} in {path} that makes an {kind.__name__}"
    is_other = isinstance(found, type) and not issubclass(found, kind)  # not to be called: it may want other arguments
    if is_other or not callable(found):
        raise ConfigError(expected, "none" if found is None else repr(found), "define it there")
    made = run_foreign(lambda: found(*args, **options), str(path))
    if not isinstance(made, kind):
        raise ConfigError(expected, f"one that makes a {type(made).__name__}", f"let it return an {kind.__name__}")
    return made


def _find_outside(name: str) -> tuple[Path, str, object]:
    """Return the file of ``file.py:Name``, the name, and what it is there; ``None`` where there is no such thing."""
    path, inner = split_outside(name)
    path = path.expanduser()
    found: object = import_file(path)
    for part in inner.split("."):
        found = getattr(found, part, None)
    return path, inner, found


def import_file(path: Path) -> ModuleType:
    """Run a user's Python file as a module; one of the same text is run once.

    Raises:
        ConfigError: there is no such file, or it does not run.
    """
    if not path.is_file():
        raise ConfigError("a Python file", f"no file {path}", "check the path before the colon")
    place = path.resolve()
    content = run_foreign(place.read_bytes, str(path))
    name = f"{_MODULE}{path.stem}_{hashlib.sha256(content + str(place).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _TextLoader(place, content)
    spec = spec_from_file_location(name, place, loader=loader)
    assert spec is not None  # a loader is given
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        run_foreign(lambda: loader.exec_module(module), str(path))
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _TextLoader(SourceLoader):
    """Runs the text that was hashed; Python's own loader takes old bytecode for a file that was edited just now."""

    def __init__(self, place: Path, content: bytes) -> None:
        self._place, self._content = place, content

    def get_filename(self, fullname: str) -> str:
        """Return the file."""
        del fullname
        return str(self._place)

    def get_data(self, path: str | bytes) -> bytes:
        """Return its text."""
        del path
        return self._content


def run_foreign(call: Callable[[], _Made], place: str) -> _Made:
    """Run code of the user's; what it raises becomes one line.

    Args:
        call: what to run.
        place: its file or module, for the message.

    Raises:
        AuxoError: the code raised one, which passes as it is.
        ForeignCodeError: it raised something else.
    """
    try:
        return call()
    except AuxoError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's file may raise anything
        frames = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(Path(place).resolve())
        ]
        line = getattr(error, "lineno", None) or (frames[-1] if frames else None)
        where = f" at line {line}" if line else ""
        reason = error.msg if isinstance(error, SyntaxError) else error  # its text would say the line again
        text = " ".join(f"{type(error).__name__}: {reason}".split())
        raise ForeignCodeError(f"{place} to run", f"{text}{where}", "repair the file") from error


def guard_class(kind: type) -> None:
    """Let errors in the methods of a class of the user's be :class:`ForeignCodeError`; other classes stay as they are.

    Args:
        kind: of which what it defines itself is guarded: methods, class and static methods, and properties.
    """
    if not kind.__module__.startswith(_MODULE):
        return
    place = str(sys.modules[kind.__module__].__file__)

    def guard(method: Callable[..., _Made]) -> Callable[..., _Made]:
        @wraps(method)
        def run(*args: object, **options: object) -> _Made:
            return run_foreign(lambda: method(*args, **options), place)

        return run

    for name, item in list(vars(kind).items()):
        if isinstance(item, classmethod | staticmethod):
            setattr(kind, name, type(item)(guard(item.__func__)))
        elif isinstance(item, property):
            setattr(kind, name, property(None if item.fget is None else guard(item.fget), doc=item.__doc__))
        elif isinstance(item, FunctionType):
            setattr(kind, name, guard(item))


def shorten_files(files: Sequence[Path]) -> dict[Path, str]:
    """Return the shortest end of each path that is no end of another.

    Args:
        files: different ones.

    Example:
        >>> list(shorten_files([Path("/me/tasks/net.py"), Path("/me/net.py"), Path("/me/data.py")]).values())
        ['tasks/net.py', 'me/net.py', 'data.py']
    """
    shortened = {}
    for file in files:
        shared = max((_num_shared_parts(file, other) for other in files if other != file), default=0)
        parts = [part for part in file.parts if part != file.anchor]
        shortened[file] = "/".join(parts[-(shared + 1) :])
    return shortened


def pair_files(recorded: Sequence[Path], named: Sequence[Path]) -> dict[Path, Path]:
    """Return which of the files that a user names stands for each that a run has recorded; some may have none.

    A file stands for itself; else one for another whose path ends alike, which no other does to as many folders; and
    where one is left of each, for that.

    Args:
        recorded: different files, which may be gone.
        named: different files.

    Example:
        >>> pairs = pair_files([Path("a/net.py"), Path("my.py")], [Path("b/a/net.py"), Path("new.py")])
        >>> [str(place) for place in pairs.values()]
        ['b/a/net.py', 'new.py']
    """
    pairs = {path: path for path in recorded if path in named}
    left, spare = ([path for path in paths if path not in pairs] for paths in (recorded, named))
    nearest = {path: place for path in left if (place := _find_nearest(path, spare)) is not None}
    claims = Counter(nearest.values())
    pairs |= {path: place for path, place in nearest.items() if claims[place] == 1}
    left = [path for path in left if path not in pairs]
    spare = [path for path in spare if path not in claims]
    return pairs | dict(zip(left, spare, strict=True)) if len(left) == len(spare) == 1 else pairs


def _find_nearest(path: Path, places: Sequence[Path]) -> Path | None:
    """Return the place whose last parts are most of them the path's, if there is one such place."""
    found = {place: _num_shared_parts(path, place) for place in places}
    most = max(found.values(), default=0)
    best = [place for place, count in found.items() if count == most > 0]
    return best[0] if len(best) == 1 else None


def _num_shared_parts(one: Path, other: Path) -> int:
    """Return how many of the last parts of two paths are equal."""
    pairs = list(zip(reversed(one.parts), reversed(other.parts), strict=False))
    return next((number for number, (a, b) in enumerate(pairs) if a != b), len(pairs))


def is_of_user(error: BaseException) -> bool:
    """Return whether an error came up in code that is neither auxo's, Python's nor of an installed package."""
    known = [Path(place).resolve() for name, place in sysconfig.get_paths().items() if name.endswith("lib")]
    known.append(Path(__file__).resolve().parents[1])
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return any(file.is_file() and not any(file.resolve().is_relative_to(place) for place in known) for file in files)
