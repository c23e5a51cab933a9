"""The folder of a study: runs beside each other, and a description that says what they are part of."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import auxo
from auxo.errors import CheckpointError, ConfigError
from auxo.files import is_unused, make_folder, remove_temporaries, write_atomically
from auxo.files.json_text import check_json, read_json

_Shape = TypeVar("_Shape")


class _Version(TypedDict):
    """Who wrote a description."""

    format: int
    auxo: str


@dataclass(frozen=True)
class StudyKind:
    """A kind of study, such as a comparison or a sweep, and how its folder is described.

    Args:
        name: of the kind; the description is the file ``NAME.json``.
        allowed: folders that can be gone on with, in words.
        format: of descriptions that are written.
        readable: formats that are read beside it.
    """

    name: str
    allowed: str
    format: int
    readable: tuple[int, ...] = ()

    def find_file(self, folder: Path) -> Path:
        """Return where the description is."""
        return folder / f"{self.name}.json"

    def read(self, folder: Path) -> dict[str, Any] | None:
        """Return the description of a folder, its format included, or ``None`` where there is none yet.

        Raises:
            ConfigError: the folder holds other files.
            CheckpointError: the description is damaged, or of a format that is not read.
        """
        path = self.find_file(folder)
        if not path.is_file():
            if not is_unused(folder):
                got = f"{folder} with other files" if folder.is_dir() else f"{folder}, a file"
                raise ConfigError(f"a new folder, or {self.allowed}", got, "choose another --out")
            return None
        expected, fix = self._say_expected(folder)
        stored: dict[str, Any] = read_json(path.read_bytes(), dict[str, Any], expected=expected, fix=fix)
        known = check_json(stored, _Version, expected=expected, fix=fix)
        if known["format"] not in (self.format, *self.readable):
            fix = f"auxo {known['auxo']} wrote it; use that version or another --out"
            got = f"format {known['format']}"
            raise CheckpointError(f"a {self.name} of format {self.format} in {path}", got, fix)
        return stored

    def check(self, document: Mapping[str, Any], shape: Callable[..., _Shape], folder: Path) -> _Shape:
        """Return a description that has the fields of a ``TypedDict``.

        Raises:
            CheckpointError: it has not.
        """
        expected, fix = self._say_expected(folder)
        return check_json(document, shape, expected=expected, fix=fix)

    def write(self, folder: Path, fields: Mapping[str, Any]) -> None:
        """Write the description of a folder, which is made if missing.

        Raises:
            OutputError: it cannot be written.
        """
        document = {"format": self.format, "auxo": auxo.__version__, **fields}
        remove_temporaries(make_folder(folder))
        write_atomically(self.find_file(folder), json.dumps(document, indent=2) + "\n")

    def _say_expected(self, folder: Path) -> tuple[str, str]:
        """Return what the file should have been, and what the user can do."""
        fix = "choose another --out, or take the file from a copy"
        return f"a {self.name}'s description in {self.find_file(folder)}", fix
