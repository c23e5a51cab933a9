"""New places of what a run names: from the words of a command, and remembered beside the run."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypedDict

from auxo.errors import ConfigError
from auxo.files.atomic import write_atomically
from auxo.files.json_text import read_json
from auxo.files.moved import MovedPlaces, finding_moved

OPTION = "--moved"
_FILE = "moved.json"
_FORMAT = 1


class _Document(TypedDict):
    """What is remembered beside a run."""

    format: int
    places: dict[str, str]


@contextmanager
def finding_places(words: Sequence[str], folders: Sequence[Path], *, remembers: bool = True) -> Iterator[None]:
    """Let what runs name be found in its new places, and remember them where the command comes to its end.

    Args:
        words: of the command, with ``--moved OLD=NEW`` for each place.
        folders: run directories that the command reads; where there are none, nothing is remembered.
        remembers: whether the command may write into them.

    Raises:
        ConfigError: a word names no place that is there.
        CheckpointError: what is remembered is damaged.
    """
    given = _read_words(words)
    known = {old: new for folder in folders for old, new in _read_file(folder / _FILE).items()}
    if not folders and not given:
        yield
        return
    with finding_moved(MovedPlaces(known | given, is_asked=bool(given))):
        yield
    if given and remembers and os.environ.get("RANK", "0") == "0":
        for folder in folders:
            _remember_places(folder, given)


def _read_words(words: Sequence[str]) -> dict[str, str]:
    """Return the new places that words give, whole, by old ones."""
    values = [word.removeprefix(f"{OPTION}=") for word in words if word.startswith(f"{OPTION}=")]
    values += [after for word, after in pairwise(words) if word == OPTION]
    return dict(_split_pair(value) for value in values)


def _split_pair(value: str) -> tuple[str, str]:
    """Return old and new place of ``OLD=NEW``; either may have an equals sign in it."""
    cuts = [place for place, sign in enumerate(value) if sign == "=" and 0 < place < len(value) - 1]
    if not cuts:
        raise ConfigError(f"{OPTION} OLD=NEW", repr(value), "name the place in the run's config and where it is now")
    pairs = [(value[:cut], os.path.abspath(os.path.expanduser(value[cut + 1 :]))) for cut in cuts]
    for old, new in pairs:
        if os.path.exists(new):
            return old, new
    raise ConfigError(f"a file or folder after {OPTION} {pairs[0][0]}=", f"nothing at {pairs[0][1]}", "check the path")


def _read_file(path: Path) -> dict[str, str]:
    """Return the new places that were remembered beside a run."""
    if not path.is_file():
        return {}
    expected, fix = f"new places by old ones in {path}", "delete it, and name them with --moved"
    return read_json(path.read_bytes(), _Document, expected=expected, fix=fix)["places"]


def _remember_places(folder: Path, given: dict[str, str]) -> None:
    """Write new places beside a run, if its directory can be written."""
    if not os.access(folder, os.W_OK):
        return
    places = _read_file(folder / _FILE) | given
    write_atomically(folder / _FILE, json.dumps({"format": _FORMAT, "places": places}, indent=2) + "\n")
