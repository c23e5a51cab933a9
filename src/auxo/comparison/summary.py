"""A comparison in numbers: every method by every measure on every test set, and its difference to the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from auxo.comparison.folder import Contents
from auxo.comparison.measures import ShownMeasure, choose_measure
from auxo.comparison.results import ELSEWHERE, Result, sets_of, values_of
from auxo.comparison.statistics import Difference, paired_difference
from auxo.errors import ConfigError
from auxo.runs.results import PRIMARY
from auxo.tasks import holm


@dataclass(frozen=True)
class Cell:
    """What a method achieved on a test set.

    Args:
        method: its name.
        measure: name of the measure.
        split: the set, or :data:`ELSEWHERE`.
        values: by seed; in percent where the measure is so, else in its unit.
    """

    method: str
    measure: str
    split: str
    values: dict[int, float]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """Sample standard deviation over the seeds, ``None`` of one."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """What a folder's finished runs say.

    Args:
        contents: of the folder.
        results: of the finished runs, in the order of the table.
        measures: that are shown, the first one first; none without a result.
        cells: of every method that has a finished run, every measure and every set that has it, and of the mean over
            the sets from elsewhere.
        baseline: the method that the others are compared with.
        differences: of every other method, every measure and every set, corrected for their number.
        missing: methods and seeds of the runs that are not finished.
    """

    contents: Contents
    results: tuple[Result, ...]
    measures: tuple[ShownMeasure, ...]
    cells: tuple[Cell, ...]
    baseline: str
    differences: tuple[Difference, ...]
    missing: tuple[tuple[str, int], ...]

    def results_of(self, method: str) -> list[Result]:
        """Return the finished runs of a method."""
        return [result for result in self.results if result.method == method]

    def sets_with(self, measure: str) -> list[str]:
        """Return the test sets that have a measure, and the mean over those from elsewhere, in their order."""
        have = {cell.split for cell in self.cells if cell.measure == measure}
        return [split for split in (*sets_of(self.results), ELSEWHERE) if split in have]


def compare_results(
    contents: Contents, results: Sequence[Result], *, baseline: str | None = None, measures: Sequence[str] = (PRIMARY,)
) -> Comparison:
    """Return the comparison of finished runs.

    Args:
        contents: of the folder.
        results: of its finished runs; a seed that a method lacks is left out of its differences.
        baseline: the method to compare with; ``None`` means the first.
        measures: what to show, ``primary`` meaning the measure that decides.

    Raises:
        ConfigError: the baseline is none of the methods, no result has a measure, or the methods' primary measures
            differ.
    """
    chosen = next(iter(contents.methods)) if baseline is None else baseline
    if chosen not in contents.methods:
        raise ConfigError(f"a baseline among {', '.join(contents.methods)}", repr(chosen), "name one of them")
    rows = [row for result in results for row in result.rows.values()]
    shown = tuple(dict.fromkeys(choose_measure(rows, name) for name in measures)) if rows else ()
    cells = [cell for measure in shown for cell in _list_cells(contents, results, measure.name)]
    by_place = {(cell.method, cell.measure, cell.split): cell.values for cell in cells}
    differences = [
        paired_difference(
            cell.values,
            by_place.get((chosen, cell.measure, cell.split), {}),
            method=cell.method,
            baseline=chosen,
            split=cell.split,
            measure=cell.measure,
        )
        for cell in cells
        if cell.method != chosen
    ]
    finished = {(result.method, result.seed) for result in results}
    return Comparison(
        contents=contents,
        results=tuple(results),
        measures=shown,
        cells=tuple(cells),
        baseline=chosen,
        differences=_correct_p_values([each for each in differences if each is not None]),
        missing=tuple(run for run in contents.runs() if run not in finished),
    )


def _list_cells(contents: Contents, results: Sequence[Result], measure: str) -> list[Cell]:
    """Return what every method achieved by a measure, set after set."""
    found = values_of(results, measure)
    cells = []
    for method in contents.methods:
        for split in (*sets_of(results), ELSEWHERE):
            values = {seed: row[split] for (name, seed), row in found.items() if name == method and split in row}
            if values:
                cells.append(Cell(method, measure, split, dict(sorted(values.items()))))
    return cells


def _correct_p_values(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return differences with p-values corrected for the number of all that were tested, defined or not."""
    tested = [each for each in differences if len(each.seeds) > 1]
    corrected = holm([1.0 if each.p is None else each.p for each in tested])
    p_holm = {id(each): value for each, value in zip(tested, corrected, strict=True) if each.p is not None}
    return tuple(replace(each, p_holm=p_holm.get(id(each))) for each in differences)
