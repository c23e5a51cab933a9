"""Which trackers a run has, and what they call it."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from auxo.errors import CheckpointError, ConfigError
from auxo.files import write_atomically
from auxo.files.json_text import read_json
from auxo.registry import load
from auxo.runs.trackers._forgiving import ForgivingTracker
from auxo.runs.trackers._interface import AbstractTracker, TrackedRun

TRACKERS_FILE = "trackers.json"
"""File in a run directory that says what each tracker calls the run."""

_KIND = "runs.trackers"


class _Tracked(TypedDict):
    """What is known of one tracker: its name of the run, and the error that ended it, if one did."""

    identity: str
    failure: str | None


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose packages are missing, before anything is written.

    Raises:
        ConfigError: a package is missing, or there is no such tracker.
    """
    for name in names:
        package = load(_KIND, name).PACKAGE
        if importlib.util.find_spec(package) is None:
            fix = f"pip install 'auxo[{name}]', or leave --training.trackers out"
            raise ConfigError(f"the package {package} for --training.trackers {name}", "none", fix)


def open_trackers(
    names: Sequence[str], *, folder: Path, document: str, project: str, is_offline: bool
) -> list[AbstractTracker]:
    """Return the trackers of a run, which goes on in them if it was there before.

    Args:
        names: of the trackers.
        folder: the run directory, which exists.
        document: the run's options as JSON.
        project: what runs are collected under.
        is_offline: whether nothing may leave this machine.

    Raises:
        ConfigError: a package is missing, or nobody is logged in.
        CheckpointError: the file that says what they call the run is damaged.
    """
    check_trackers(names)
    known = read_trackers(folder)
    opened: list[AbstractTracker] = []
    for name in names:
        module = load(_KIND, name)
        before = known.get(name)
        identity = before["identity"] if before else None
        inner = module.open_tracker(TrackedRun(folder, project, json.loads(document), identity, is_offline))
        known[name] = {"identity": inner.identity, "failure": None}

        def tell(error: str, name: str = name) -> None:
            _write_known(folder, {**read_trackers(folder), name: {**known[name], "failure": error}})

        opened.append(ForgivingTracker(inner, failures=module.list_failures(), tell=tell))
    if opened:
        _write_known(folder, known)
    return opened


def read_trackers(folder: Path) -> dict[str, _Tracked]:
    """Return what the trackers of a run call it, by their names; nothing where it has none.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / TRACKERS_FILE
    if not path.is_file():
        return {}
    return read_json(
        path.read_bytes(),
        dict[str, _Tracked],
        expected=f"{path} as auxo writes it",
        fix="remove it: the trackers then begin a new run",
        error=CheckpointError,
    )


def _write_known(folder: Path, known: dict[str, Any]) -> None:
    """Write what the trackers call the run."""
    write_atomically(folder / TRACKERS_FILE, json.dumps(known, indent=1) + "\n")
