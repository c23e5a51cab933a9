"""What the finished runs of a comparison found, read from their records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from auxo.comparison.declaration import ELSEWHERE, PREFIX
from auxo.comparison.folder import Contents, run_folder
from auxo.errors import CheckpointError, ConfigError
from auxo.jobs import is_finished
from auxo.runs.document import read_rule
from auxo.runs.doubts import find_doubts
from auxo.runs.history import RunHistory
from auxo.runs.results import EvaluationRow
from auxo.runs.selection import SelectionRule
from auxo.tasks import ANSWERS_MEASURE

_BY_CLASS = "class"
CLASS_MEASURES = ("macro", "worst_class")
"""Measures that follow from those of the classes."""


@dataclass(frozen=True)
class Result:
    """What a finished run found.

    Args:
        method: its name.
        seed: its seed.
        rows: what its first head achieved, the one that predicts: by test set, ``test`` and then those from elsewhere;
            at least one.
        epochs: of each stage.
        train_seconds: wall-clock time of training.
        images: training images seen.
        flops: floating-point operations of training, or ``None`` if they were not counted.
        selection: which weights the last stage ended with, in words.
        doubts: what speaks against the result, each a sentence.
    """

    method: str
    seed: int
    rows: Mapping[str, EvaluationRow]
    epochs: tuple[int, ...]
    train_seconds: float
    images: int
    flops: float | None
    selection: str
    doubts: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """Name of the head that predicts."""
        return next(iter(self.rows.values())).head

    @property
    def primary(self) -> str:
        """Name of the measure that decides."""
        return next(iter(self.rows.values())).primary


def read_results(folder: Path, contents: Contents) -> list[Result]:
    """Return what the finished runs of a comparison found, in the order of the table.

    Raises:
        CheckpointError: a run's records are damaged.
    """
    places = [(name, seed, run_folder(folder, name, seed)) for name, seed in contents.runs()]
    return [read_result(place, method=name, seed=seed) for name, seed, place in places if is_finished(place)]


def read_result(folder: Path, *, method: str, seed: int) -> Result:
    """Return what a finished run found.

    Raises:
        CheckpointError: its records are damaged, or tell of no end or of no head that predicts.
    """
    history = RunHistory.read_finished(folder)
    rows = {row.split: add_class_measures(row) for row in history.first_head() if row.split != "val"}
    if not rows:
        fix = "give a test set: --data.test, --data.test-fraction or --data.ood"
        raise CheckpointError(f"results on test sets in {folder}", "none", fix)
    return Result(
        method=method,
        seed=seed,
        rows=rows,
        epochs=history.epochs,
        train_seconds=history.compute.train_seconds,
        images=history.compute.images,
        flops=history.compute.flops,
        selection=_read_rule(history).describe(primary=next(iter(rows.values())).primary),
        doubts=tuple(find_doubts(history)),
    )


def add_class_measures(row: EvaluationRow) -> EvaluationRow:
    """Return a row with the primary measure of its classes: their mean, ``macro``, and the lowest, ``worst_class``.

    All classes count alike, however many images they have. Of a measure that is such a mean already there is no
    ``macro``. The lowest of several is lower by chance alone, the more so the fewer images a class has.
    """
    values = [part.value for part in row.parts.get(_BY_CLASS, {}).values() if part.value is not None]
    if row.kind != "task" or not values:
        return row
    macro, worst = CLASS_MEASURES
    ends = {worst: min(values) if row.main.higher_is_better else max(values)}
    means = {macro: fmean(values)} if row.primary == ANSWERS_MEASURE else {}
    made = {name: row.main._replace(value=value, low=None, high=None) for name, value in (means | ends).items()}
    return replace(
        row, measures={**row.measures, **{name: each for name, each in made.items() if name not in row.measures}}
    )


def _read_rule(history: RunHistory) -> SelectionRule:
    """Return the rule by which the last stage of a run kept its weights, as the run recorded it."""
    where = history.folder / "config.json"
    try:
        return read_rule(history.document["run"]["stages"][-1]["selection"], origin=str(where))
    except (LookupError, TypeError, ConfigError) as error:
        raise CheckpointError(f"a rule of selection in {where}", "something else", "take it from a copy") from error


def sets_of(results: Sequence[Result]) -> list[str]:
    """Return the test sets of results, each once."""
    return list(dict.fromkeys(name for result in results for name in result.rows))


def values_of(results: Sequence[Result], name: str) -> dict[tuple[str, int], dict[str, float]]:
    """Return a measure by method and seed, and within it by test set.

    Values are in percent where the measure is so, else in its unit. Two or more sets from elsewhere that have the
    measure in any result add their mean, for results that have it on all.

    Args:
        results: of the runs.
        name: of the measure; ``primary`` means each result's own.
    """
    found: dict[tuple[str, int], dict[str, float]] = {}
    for result in results:
        measures = {split: row.measures.get(row.name_measure(name)) for split, row in result.rows.items()}
        values = {split: measure.shown for split, measure in measures.items() if measure is not None}
        found[result.method, result.seed] = values
    elsewhere = {split for values in found.values() for split in values if split.startswith(PREFIX)}
    for values in found.values():
        if len(elsewhere) > 1 and values.keys() >= elsewhere:
            values[ELSEWHERE] = fmean(value for split, value in values.items() if split in elsewhere)
    return found
