"""A comparison in numbers: every method on every test set, and its difference to the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from auxo.comparison.folder import Contents
from auxo.comparison.results import ELSEWHERE, Result, sets_of, with_mean
from auxo.comparison.statistics import Difference, holm, paired_difference
from auxo.errors import ConfigError

__all__ = ["Cell", "Comparison", "compare_results"]


@dataclass(frozen=True)
class Cell:
    """What a method achieved on a test set.

    Args:
        method: its name.
        split: the set, or :data:`ELSEWHERE`.
        values: accuracies in percent, by seed.
    """

    method: str
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
        splits: test sets, and the mean over those from elsewhere, in the order of the table.
        cells: of every method that has a finished run and every set.
        baseline: the method that the others are compared with.
        differences: of every other method and every set, corrected for their number.
        missing: methods and seeds of the runs that are not finished.
    """

    contents: Contents
    results: tuple[Result, ...]
    splits: tuple[str, ...]
    cells: tuple[Cell, ...]
    baseline: str
    differences: tuple[Difference, ...]
    missing: tuple[tuple[str, int], ...]

    def results_of(self, method: str) -> list[Result]:
        """Return the finished runs of a method."""
        return [result for result in self.results if result.method == method]


def compare_results(contents: Contents, results: Sequence[Result], *, baseline: str | None = None) -> Comparison:
    """Return the comparison of finished runs.

    Args:
        contents: of the folder.
        results: of its finished runs; a seed that a method lacks is left out of its differences.
        baseline: the method to compare with; ``None`` means the first.

    Raises:
        ConfigError: the baseline is none of the methods.
    """
    chosen = next(iter(contents.methods)) if baseline is None else baseline
    if chosen not in contents.methods:
        raise ConfigError(f"a baseline among {', '.join(contents.methods)}", repr(chosen), "name one of them")
    found = {(result.method, result.seed): with_mean(result) for result in results}
    splits = [*sets_of(results), *([ELSEWHERE] if any(ELSEWHERE in values for values in found.values()) else [])]
    cells = []
    for method in contents.methods:
        for split in splits:
            values = {seed: row[split] for (name, seed), row in found.items() if name == method and split in row}
            if values:
                cells.append(Cell(method, split, dict(sorted(values.items()))))
    by_place = {(cell.method, cell.split): cell.values for cell in cells}
    differences = [
        paired_difference(
            cell.values, by_place.get((chosen, cell.split), {}), method=cell.method, baseline=chosen, split=cell.split
        )
        for cell in cells
        if cell.method != chosen
    ]
    return Comparison(
        contents=contents,
        results=tuple(results),
        splits=tuple(splits),
        cells=tuple(cells),
        baseline=chosen,
        differences=_corrected([each for each in differences if each is not None]),
        missing=tuple(run for run in contents.runs() if run not in found),
    )


def _corrected(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return differences with p-values corrected for the number of all that were tested, defined or not."""
    tested = [each for each in differences if len(each.seeds) > 1]
    corrected = holm([1.0 if each.p is None else each.p for each in tested])
    p_holm = {id(each): value for each, value in zip(tested, corrected, strict=True) if each.p is not None}
    return tuple(replace(each, p_holm=p_holm.get(id(each))) for each in differences)
