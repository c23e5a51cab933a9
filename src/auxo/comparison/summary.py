"""A comparison in numbers: every method by every measure on every test set, and the differences of its contrasts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from auxo.comparison.declaration import ELSEWHERE, Contrast, Declaration, count_looks, margin_of
from auxo.comparison.folder import Contents
from auxo.comparison.grouped import GroupedValues
from auxo.comparison.measures import ShownMeasure, choose_measure
from auxo.comparison.results import Result, sets_of, values_of
from auxo.comparison.statistics import Difference, judge_differences, paired_difference
from auxo.runs.results import PRIMARY, EvaluationRow


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
        results: of the finished runs.
        measures: what is shown.
        cells: for every measure, method and set that has results.
        endpoint: name of the measure, and test set, of the primary endpoint; ``None`` where it has no result or is not
            shown.
        differences: declared contrasts on the primary endpoint, then all others.
        missing: method and seed of the runs that are not finished.
        group: column of the images whose values are taken for drawn; ``None`` where images are taken as they are.
        ungrouped: what was not taken so, each a sentence.
    """

    contents: Contents
    results: tuple[Result, ...]
    measures: tuple[ShownMeasure, ...]
    cells: tuple[Cell, ...]
    endpoint: tuple[str, str] | None
    differences: tuple[Difference, ...]
    missing: tuple[tuple[str, int], ...]
    group: str | None = None
    ungrouped: tuple[str, ...] = ()

    def results_of(self, method: str) -> list[Result]:
        """Return the finished runs of a method."""
        return [result for result in self.results if result.method == method]

    def sets_with(self, measure: str) -> list[str]:
        """Return the test sets that have a measure, and the mean over those from elsewhere, in their order."""
        have = {cell.split for cell in self.cells if cell.measure == measure}
        return [split for split in (*sets_of(self.results), ELSEWHERE) if split in have]

    def family(self, *, is_primary: bool, measure: str | None = None) -> list[Difference]:
        """Return the differences of one family that are of two pairs or more, of all measures or one."""
        return [
            each
            for each in self.differences
            if each.is_primary == is_primary and each.estimate is not None and measure in (None, each.measure)
        ]


def compare_results(
    contents: Contents, results: Sequence[Result], *, measures: Sequence[str] = (PRIMARY,), group: str | None = None
) -> Comparison:
    """Return the comparison of finished runs.

    Differences are those of the contrasts that the folder declares, or of all methods to the first where it declares
    none, which are then all exploratory.

    Args:
        contents: of the folder.
        results: of its finished runs; a seed that a method lacks is left out of its differences.
        measures: what to show, ``primary`` meaning the measure that decides.
        group: column of the images whose values are taken for drawn, as seeds are: by the primary measure of each.

    Raises:
        ConfigError: no result has a measure or the column, or the methods' primary measures differ.
    """
    rows = [row for result in results for row in result.rows.values()]
    shown = tuple(dict.fromkeys(choose_measure(rows, name) for name in measures)) if rows else ()
    cells = [cell for measure in shown for cell in _list_cells(contents, results, measure.name)]
    declaration = contents.declaration or Declaration(
        contrasts=tuple(Contrast(name, next(iter(contents.methods)), False) for name in list(contents.methods)[1:])
    )
    endpoint = _find_endpoint(declaration, shown, rows, cells) if rows else None
    grouped = GroupedValues(results, group)
    made = [
        replace(
            difference,
            is_primary=contrast.is_declared and (measure.name, difference.split) == endpoint,
            margin=margin_of(declaration.margin, measure),
            looks=max(declaration.looks, count_looks(contents.looks, *_names_of(difference), difference.seeds)),
        )
        for measure in shown
        for contrast in declaration.contrasts
        for difference in _list_differences(contrast, measure.name, cells, grouped, contents)
    ]
    families = [judge_differences([each for each in made if each.is_primary is kind]) for kind in (True, False)]
    finished = {(result.method, result.seed) for result in results}
    return Comparison(
        contents=replace(contents, declaration=declaration),
        results=tuple(results),
        measures=shown,
        cells=tuple(cells),
        endpoint=endpoint,
        differences=tuple(each for family in families for each in family),
        missing=tuple(run for run in contents.runs() if run not in finished),
        group=group,
        ungrouped=grouped.notes,
    )


def _names_of(difference: Difference) -> tuple[str, str]:
    """Return the names of both methods."""
    return difference.method, difference.baseline


def _find_endpoint(
    declaration: Declaration, shown: Sequence[ShownMeasure], rows: Sequence[EvaluationRow], cells: Sequence[Cell]
) -> tuple[str, str] | None:
    """Return the primary endpoint among what is shown."""
    name = rows[0].name_measure(declaration.measure)
    if name not in {measure.name for measure in shown}:
        return None
    split = declaration.choose_split(list(dict.fromkeys(cell.split for cell in cells if cell.measure == name)))
    return None if split is None else (name, split)


def _list_differences(
    contrast: Contrast, measure: str, cells: Sequence[Cell], grouped: GroupedValues, contents: Contents
) -> Iterator[Difference]:
    """Yield the differences of a contrast by a measure, set after set, before they are judged."""
    others = {cell.split: cell.values for cell in cells if (cell.method, cell.measure) == (contrast.baseline, measure)}
    for cell in cells:
        if (cell.method, cell.measure) != (contrast.method, measure) or cell.split not in others:
            continue
        seeds = sorted(cell.values.keys() & others[cell.split].keys())
        found = paired_difference(
            cell.values,
            others[cell.split],
            method=contrast.method,
            baseline=contrast.baseline,
            split=cell.split,
            measure=measure,
            groups=grouped.find(contrast, measure, cell.split, seeds) if len(seeds) > 1 else None,
            overlap=contents.find_overlap(cell.split),
        )
        if found is not None:
            yield found


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
