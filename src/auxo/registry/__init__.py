"""What auxo has, found by scanning its packages: a module's name is its key. Reading a list imports nothing heavy."""

import ast
import difflib
import functools
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from auxo.errors import ConfigError

__all__ = ["Entry", "entries", "find", "load", "refuse_name"]


@dataclass(frozen=True)
class Entry:
    """One thing a user can name.

    Args:
        name: what the user types.
        module: dotted path of the module that defines it.
        summary: first line of the module's docstring.
        source: the module's ``SOURCE``: where the thing comes from and how it differs.
    """

    name: str
    module: str
    summary: str
    source: str


def entries(kind: str) -> dict[str, Entry]:
    """Return the entries of the package ``auxo.<kind>`` by name, without importing them; read once in a process.

    A module gives one entry named after it, or one for each string in its ``NAMES``. Modules whose name starts with
    an underscore are private.

    Args:
        kind: ``tasks``, ``methods``, ``pretexts``, ``gates``, ``backbones`` or ``data.scenarios``.
    """
    return dict(_scan_package(kind))


@functools.cache  # every configuration that is read asks for names several times
def _scan_package(kind: str) -> dict[str, Entry]:
    """Return :func:`entries`, not to be changed."""
    folder = Path(__file__).parents[1].joinpath(*kind.split("."))
    found: dict[str, Entry] = {}
    for path in sorted(folder.glob("[!_]*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = _constants(tree)
        summary = (ast.get_docstring(tree) or "").partition("\n")[0]
        names = constants.get("NAMES", (path.stem,))
        for name in names if isinstance(names, tuple) else (names,):
            source = constants.get("SOURCE", "")
            found[str(name)] = Entry(str(name), f"auxo.{kind}.{path.stem}", summary, str(source))
    return found


def _constants(tree: ast.Module) -> dict[str, object]:
    """Return the module's literal ``NAMES`` and ``SOURCE``."""
    values: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("NAMES", "SOURCE"):
                values[name] = ast.literal_eval(node.value)
    return values


def load(kind: str, name: str) -> ModuleType:
    """Import the module that defines ``name``.

    Raises:
        ConfigError: see :func:`find`.
    """
    return importlib.import_module(find(kind, name).module)


def find(kind: str, name: str) -> Entry:
    """Return what is called ``name``; nothing is imported.

    Raises:
        ConfigError: there is no such entry; the message gives the nearest names.
    """
    known = entries(kind)
    if name not in known:
        raise refuse_name(kind, name, known)
    return known[name]


def refuse_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error that there is no such name among those known, with the nearest of them."""
    near = difflib.get_close_matches(name, known := sorted(known), n=3)
    fix = f"did you mean {' or '.join(near)}? (auxo list)" if near else f"there are {', '.join(known)}"
    if name.endswith(".py"):
        fix = f"say what in that file: {name}:Name"
    return ConfigError(f"one of auxo's {kind.rpartition('.')[2]}", repr(name), fix)
