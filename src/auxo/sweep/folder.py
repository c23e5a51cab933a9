"""What the folder of a sweep holds: the run, the space and how it is searched."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auxo.errors import CheckpointError, ConfigError
from auxo.runs.document import to_json
from auxo.runs.selection import SelectionRule
from auxo.runs.study import StudyKind
from auxo.sweep.space import SearchSpace
from auxo.sweep.study import Strategy

KIND = StudyKind("sweep", "one of the same sweep", format=2)


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
    stored, plain = KIND.read(folder), _make_plain(contents)
    if stored is None:
        return
    path = KIND.find_file(folder)
    if not stored.keys() >= plain.keys():
        missing, fix = min(plain.keys() - stored.keys()), "choose another --out, or take the file from a copy"
        raise CheckpointError(f"a sweep's description in {path}", f"none of {missing!r}", fix)
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
    KIND.write(folder, _make_plain(contents))


def _make_plain(contents: Contents) -> dict[str, Any]:
    """Return the contents as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(contents)))
    return plain
