"""What a folder of a comparison holds: which runs, of which data, for how many operations."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import auxo
from auxo.errors import CheckpointError, ConfigError
from auxo.files import is_unused, make_folder, remove_temporaries, write_atomically
from auxo.files.json_text import read_json
from auxo.runs.document import to_json
from auxo.runs.experiment import ExperimentConfig

FORMAT = 2
_FILE = "comparison.json"


class _Version(TypedDict):
    """Who wrote a description."""

    format: int
    auxo: str


class _Entry(TypedDict):
    """A method in it."""

    recipe: str
    num_parameters: int | None
    seeds: list[int]


class _Description(_Version):
    """The description of this format."""

    title: str
    budget: Literal["equal", "recipe"]
    flops: float | None
    chosen: str
    shared: dict[str, dict[str, Any]]
    epochs: int | None
    methods: dict[str, _Entry]


@dataclass(frozen=True)
class MethodEntry:
    """A method of a comparison.

    Args:
        recipe: as the user named it.
        num_parameters: numbers that the last stage learns; ``None`` if they were not counted.
        seeds: of the runs that were asked for, in increasing order.
    """

    recipe: str
    num_parameters: int | None
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a folder of a comparison holds.

    Args:
        title: the scenario, or "own".
        budget: "equal", or "recipe" where every method is as long as its recipe says.
        flops: floating-point operations of every run under an equal budget, else ``None``.
        chosen: what the operations were chosen by, in words.
        shared: what all runs have in common, JSON: everything but stages and seed.
        epochs: that stood for those of the recipes' last stages, if any did.
        methods: by name, in the order of the table.
    """

    title: str
    budget: str
    flops: float | None
    chosen: str
    shared: Mapping[str, Any]
    epochs: int | None = None
    methods: Mapping[str, MethodEntry] = field(default_factory=dict)

    def added(self, methods: Mapping[str, MethodEntry]) -> "Contents":
        """Return the contents with more methods, or more seeds of those that are there."""
        merged = dict(self.methods)
        for name, entry in methods.items():
            before = merged.get(name, entry)
            merged[name] = replace(entry, seeds=tuple(sorted({*before.seeds, *entry.seeds})))
        return replace(self, methods=merged)

    def runs(self) -> list[tuple[str, int]]:
        """Return method and seed of every run, in the order of the table."""
        return [(name, seed) for name, entry in self.methods.items() for seed in entry.seeds]


def run_folder(folder: Path, method: str, seed: int) -> Path:
    """Return where a run of a comparison is."""
    return folder / f"{method}-seed{seed}"


def shared_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Return all of a run but its seed and what is the method's own, stages and pretext, as JSON has it."""
    run: dict[str, Any] = json.loads(to_json(config))["run"]
    return {name: value for name, value in run.items() if name not in ("stages", "pretext", "seed")}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterable[tuple[str, Any, Any]]:
    """Yield the options that differ between shared settings, each with both values."""
    for part in one:
        for name in one[part]:
            values = one[part][name], other.get(part, {}).get(name)
            if values[0] != values[1]:
                yield f"{part}.{name.replace('_', '-')}", *values


def read_contents(folder: Path) -> Contents | None:
    """Return what a folder holds, or ``None`` if it is new or has only what a command left that was killed early.

    Raises:
        ConfigError: it holds something else.
        CheckpointError: its description is damaged, or an older version wrote it.
    """
    path = folder / _FILE
    if not path.is_file():
        if not is_unused(folder):
            got = f"{folder} with other files" if folder.is_dir() else f"{folder}, a file"
            raise ConfigError("a new folder, or one of an earlier comparison", got, "choose another --out")
        return None
    expected, fix = f"a comparison's description in {path}", "choose another --out, or take the file from a copy"
    text = path.read_bytes()
    known = read_json(text, _Version, expected=expected, fix=fix)
    if known["format"] == FORMAT:
        read = read_json(text, _Description, expected=expected, fix=fix)
        entries = {
            name: MethodEntry(entry["recipe"], entry["num_parameters"], tuple(entry["seeds"]))
            for name, entry in read["methods"].items()
        }
        return Contents(
            title=read["title"],
            budget=read["budget"],
            flops=read["flops"],
            chosen=read["chosen"],
            shared=read["shared"],
            epochs=read["epochs"],
            methods=entries,
        )
    fix = f"auxo {known['auxo']} wrote it; use that version or another --out"
    raise CheckpointError(f"a comparison of format {FORMAT} in {path}", f"format {known['format']}", fix)


def write_contents(folder: Path, contents: Contents) -> None:
    """Write the description of a folder, which is made if missing.

    Raises:
        OutputError: it cannot be written.
    """
    document = {"format": FORMAT, "auxo": auxo.__version__, **asdict(contents)}
    remove_temporaries(make_folder(folder))
    write_atomically(folder / _FILE, json.dumps(document, indent=2) + "\n")
