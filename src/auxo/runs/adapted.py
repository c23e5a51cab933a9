"""What a run directory says of a network that was adapted after its training."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from auxo.errors import ConfigError
from auxo.files.atomic import write_atomically
from auxo.files.json_text import read_json

_FILE = "adaptation.json"
_FORMAT = 1


class _Document(TypedDict):
    """The types of what is in the file."""

    format: int
    auxo: str
    source: str
    source_digest: str
    method: str
    options: dict[str, Any]
    images: str
    num_images: int
    images_digest: str
    is_kept: bool
    reason: str
    doubts: list[str]
    facts: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class AdaptationRecord:
    """How the network of a run directory came from that of another.

    Args:
        auxo: version that did it.
        source: the run directory that the network is from, as it was named.
        source_digest: of that directory's ``model.safetensors``, SHA-256.
        method: of adaptation.
        options: of the method.
        images: where the images are that it was adapted to, as they were named.
        num_images: how many those are.
        images_digest: of the images, in any order.
        is_kept: whether the network is the adapted one; else it is the source's.
        reason: why it was not kept; "" where it was.
        doubts: what spoke against adapting, a sentence each.
        facts: numbers that say what was done.
    """

    auxo: str
    source: str
    source_digest: str
    method: str
    options: Mapping[str, Any]
    images: str
    num_images: int
    images_digest: str
    is_kept: bool = True
    reason: str = ""
    doubts: tuple[str, ...] = ()
    facts: Mapping[str, float | int] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the record into a run directory."""
        write_atomically(folder / _FILE, json.dumps({"format": _FORMAT, **asdict(self)}, indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "AdaptationRecord | None":
        """Return the record in a run directory; ``None`` where its network is as it was trained.

        Raises:
            CheckpointError: the file is damaged.
        """
        path = folder / _FILE
        if not path.is_file():
            return None
        expected, fix = f"how the run was adapted in {path}", "take it from a copy"
        values = dict(read_json(path.read_bytes(), _Document, expected=expected, fix=fix))
        del values["format"]
        return cls(**{**values, "doubts": tuple(values["doubts"])})  # type: ignore[arg-type]  # read_json checks them

    def describe(self) -> str:
        """Return what a person should know of it."""
        done = f"adapted by {self.method} to {self.num_images:,} images of {self.images}"
        end = "" if self.is_kept else f", which was not kept: {self.reason}"
        return f"the network of {self.source} was {done}{end}"


def require_trained(folder: Path, what: str) -> None:
    """Refuse a run directory whose network was adapted.

    Args:
        folder: the run directory.
        what: cannot be done with it.

    Raises:
        ConfigError: it was.
        CheckpointError: the file that says so is damaged.
    """
    record = AdaptationRecord.read(folder)
    if record is not None:
        got = f"{folder}, which was adapted from {record.source}"
        raise ConfigError(f"a run as it was trained, {what}", got, "name the run that it comes from")
