"""What a folder of a comparison holds: which runs, of which data, for how many operations."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from auxo.comparison.declaration import ELSEWHERE, PREFIX, Contrast, Declaration, Look, read_margins
from auxo.errors import CheckpointError, ConfigError
from auxo.runs.document import to_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.study import StudyKind

KIND = StudyKind("comparison", "one of an earlier comparison", format=3, readable=(2,))


class _Entry(TypedDict):
    """A method in it."""

    recipe: str
    num_parameters: int | None
    seeds: list[int]
    controls: NotRequired[str | None]


class _Contrast(TypedDict):
    """A contrast in it."""

    method: str
    baseline: str
    is_declared: bool


class _Declaration(TypedDict):
    """What it is to decide."""

    measure: str
    split: str | None
    margin: str
    looks: int
    contrasts: list[_Contrast]
    group: str | None


class _Description(TypedDict):
    """The description of a folder, format 2."""

    title: str
    budget: Literal["equal", "recipe"]
    flops: float | None
    chosen: str
    shared: dict[str, dict[str, Any]]
    epochs: int | None
    methods: dict[str, _Entry]


class _Decided(_Description):
    """The description of this format."""

    declaration: _Declaration | None
    looks: list[dict[str, list[int]]]
    redrawn: dict[str, float]


@dataclass(frozen=True)
class MethodEntry:
    """A method of a comparison.

    Args:
        recipe: as the user named it.
        num_parameters: numbers that the last stage learns; ``None`` if they were not counted.
        seeds: of the runs that were asked for, in increasing order.
        controls: the method that it is a control of, or ``None``.
    """

    recipe: str
    num_parameters: int | None
    seeds: tuple[int, ...] = ()
    controls: str | None = None


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
        declaration: what is to be decided; ``None`` where nothing was declared.
        looks: the tables that were printed, each of other finished runs than the one before.
        redrawn: test sets of which every seed has other images, with the overlap of training sets under two seeds, see
            :func:`auxo.comparison.estimate_pairs`.
    """

    title: str
    budget: str
    flops: float | None
    chosen: str
    shared: Mapping[str, Any]
    epochs: int | None = None
    methods: Mapping[str, MethodEntry] = field(default_factory=dict)
    declaration: Declaration | None = None
    looks: tuple[Look, ...] = ()
    redrawn: Mapping[str, float] = field(default_factory=dict)

    def added(self, methods: Mapping[str, MethodEntry]) -> "Contents":
        """Return the contents with more methods, or more seeds of those that are there."""
        merged = dict(self.methods)
        for name, entry in methods.items():
            before = merged.get(name, entry)
            merged[name] = replace(entry, seeds=tuple(sorted({*before.seeds, *entry.seeds})))
        return replace(self, methods=merged)

    def find_overlap(self, split: str) -> float:
        """Return the overlap of a test set, or for the mean elsewhere the largest of those from elsewhere."""
        return max(
            (overlap for name, overlap in self.redrawn.items() if name == split or _is_part(name, split)), default=0.0
        )

    def looked_at(self, finished: Iterable[tuple[str, int]]) -> "Contents":
        """Return the contents once a table of these runs is printed; a table of the same runs again is no other look.

        Args:
            finished: method and seed of every run in the table.
        """
        runs = sorted(finished)
        look = {name: tuple(seed for method, seed in runs if method == name) for name in self.methods}
        look = {name: seeds for name, seeds in look.items() if seeds}
        is_new = bool(look) and look not in self.looks
        return replace(self, looks=(*self.looks, look)) if is_new else self

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
    """Return what a folder holds, or ``None`` if it is new.

    Of a folder of format 2 it is not known when its tables were looked at, so all of its runs count as seen.

    Raises:
        ConfigError: it holds other files.
        CheckpointError: its description is damaged, or an older version wrote it.
    """
    document = KIND.read(folder)
    if document is None:
        return None
    if document["format"] == KIND.format:
        decided = KIND.check(document, _Decided, folder)
        looks = tuple({name: tuple(seeds) for name, seeds in look.items()} for look in decided["looks"])
        declaration = decided["declaration"]
        if declaration is not None:
            _check_margin(declaration["margin"], folder)
        contents = _build_contents(decided, _build_declaration(declaration), looks)
        return replace(contents, redrawn=decided["redrawn"])
    read = KIND.check(document, _Description, folder)
    return _build_contents(read, None, ({name: tuple(entry["seeds"]) for name, entry in read["methods"].items()},))


def _is_part(name: str, split: str) -> bool:
    """Return whether a set is one of those that a mean is over."""
    return split == ELSEWHERE and name.startswith(PREFIX)


def _check_margin(text: str, folder: Path) -> None:
    """Refuse a description whose margin is none."""
    try:
        read_margins(text)
    except ConfigError as error:
        fix = "choose another --out, or take the file from a copy"
        raise CheckpointError(f"a margin in {KIND.find_file(folder)}", repr(text[:40]), fix) from error


def _build_contents(read: _Description, declaration: Declaration | None, looks: tuple[Look, ...]) -> Contents:
    """Return the contents that a description tells of."""
    entries = {
        name: MethodEntry(entry["recipe"], entry["num_parameters"], tuple(entry["seeds"]), entry.get("controls"))
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
        declaration=declaration,
        looks=looks,
    )


def _build_declaration(read: _Declaration | None) -> Declaration | None:
    """Return the declaration that a description tells of."""
    if read is None:
        return None
    contrasts = tuple(Contrast(each["method"], each["baseline"], each["is_declared"]) for each in read["contrasts"])
    return Declaration(read["measure"], read["split"], read["margin"], read["looks"], contrasts, read["group"])


def write_contents(folder: Path, contents: Contents) -> None:
    """Write the description of a folder, which is made if missing.

    Raises:
        OutputError: it cannot be written.
    """
    KIND.write(folder, asdict(contents))
