"""What the folder of a sweep holds: the run, the space and how it is searched."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import auxo
from auxo.errors import CheckpointError, ConfigError
from auxo.files import is_unused, make_folder, remove_temporaries, write_atomically
from auxo.files.json_text import check_json, read_json
from auxo.runs.document import to_json
from auxo.runs.selection import SelectionRule
from auxo.sweep.space import SearchSpace
from auxo.sweep.study import Strategy

FORMAT = 2
_FILE = "sweep.json"


class _Version(TypedDict):
    """Who wrote a description."""

    format: int
    auxo: str


@dataclass(frozen=True)
class Contents:
    """What decides the trials of a sweep, beside their number.

    Args:
        recipe: as the user named it.
        search: samplers by path, as words.
        sampler: how values are chosen.
        selection: measure, head and tie-break that choose among the trials, and the test of two_step in ``run``.
        run: the run without a search, as JSON has it.
    """

    recipe: str
    search: Mapping[str, str]
    sampler: Strategy
    selection: Mapping[str, str]
    run: Mapping[str, Any]


def contents_of(space: SearchSpace, *, recipe: str, strategy: Strategy, rule: SelectionRule) -> Contents:
    """Return the contents of a sweep's folder."""
    run = json.loads(to_json(space.config))["run"]
    selection = {"measure": rule.measure, "head": rule.head, "tie_break": rule.tie_break}
    return Contents(recipe, space.describe(), strategy, selection, run)


def check_contents(folder: Path, contents: Contents) -> None:
    """Refuse a folder that holds something else than this sweep.

    Raises:
        ConfigError: it holds other files, or another sweep.
        CheckpointError: its description is damaged, or an older version wrote it.
    """
    path = folder / _FILE
    if not path.is_file():
        if not is_unused(folder):
            got = f"{folder} with other files" if folder.is_dir() else f"{folder}, a file"
            raise ConfigError("a new folder, or one of the same sweep", got, "choose another --out")
        return
    expected, fix = f"a sweep's description in {path}", "choose another --out, or take the file from a copy"
    stored, plain = read_json(path.read_bytes(), dict[str, Any], expected=expected, fix=fix), _make_plain(contents)
    known = check_json(stored, _Version, expected=expected, fix=fix)
    if known["format"] != FORMAT:
        fix = f"auxo {known['auxo']} wrote it; use that version or another --out"
        raise CheckpointError(f"a sweep of format {FORMAT} in {path}", f"format {known['format']}", fix)
    if not stored.keys() >= plain.keys():
        raise CheckpointError(expected, f"none of {min(plain.keys() - stored.keys())!r}", fix)
    differing = [name for name, value in plain.items() if stored[name] != value]
    if differing:
        told = {"search": "search space", "run": "options of the run"}
        got = f"another {' and '.join(told.get(name, name) for name in differing)}"
        fix = "choose another --out, or give the options of that sweep; more --trials add to it"
        raise ConfigError(f"the sweep that {folder} was begun with (see {path})", got, fix)


def write_contents(folder: Path, contents: Contents) -> None:
    """Write the description of a folder, which is made if missing.

    Raises:
        OutputError: it cannot be written.
    """
    document = {"format": FORMAT, "auxo": auxo.__version__, **_make_plain(contents)}
    remove_temporaries(make_folder(folder))
    write_atomically(folder / _FILE, json.dumps(document, indent=2) + "\n")


def _make_plain(contents: Contents) -> dict[str, Any]:
    """Return the contents as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(contents)))
    return plain
