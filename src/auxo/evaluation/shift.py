"""Measures of one set as if a column of the data went with the class more or less often than it does."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.data import AbstractSource
from auxo.errors import ConfigError, DataError
from auxo.evaluation.groups import BINS, Grouping, group_images, take_known
from auxo.evaluation.shift_curve import ShiftCurve, ShiftPoint
from auxo.layers.cell_weights import count_cells, effective_size, weigh_cells
from auxo.tasks import AbstractTask, Measure, Scores, measure_weighted_mean
from auxo.types import Column

SOURCE = (
    "Test sets of several strengths after Makar et al., Causally motivated Shortcut Removal Using Auxiliary Labels, "
    "AISTATS 2022 (arXiv 2105.06422), who draw backgrounds anew. Here the images of one set are weighted, which keeps "
    "P(X | Y, V) and P(Y) as they are and uses all images at every strength."
)

STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Strengths that are measured by default."""

_FEW = 10
"""Images of a cell below which a note says so, and which no worst group is taken from."""


def pair_values(right: Column, column: Column) -> dict[str, str]:
    """Return for each class that has images the value that goes with it more than with the others.

    That is the value whose share in the class exceeds its share in the set the most; with at least as many values as
    classes no value goes with two classes, and the sum of these excesses is the largest.

    Args:
        right: the class of every image.
        column: the value of every image.

    Example:
        >>> right = Column(torch.tensor([0, 0, 0, 1, 1, 1]), ("cat", "dog"))
        >>> pair_values(right, Column(torch.tensor([1, 1, 0, 0, 0, 1]), ("land", "water")))
        {'cat': 'water', 'dog': 'land'}
    """
    from scipy.optimize import linear_sum_assignment

    counts = count_cells(right.values, column.values, shape=(len(right.names), len(column.names))).double()
    present = (counts.sum(1) > 0).nonzero().flatten()
    rows = counts[present]
    excess = rows / rows.sum(1, keepdim=True) - rows.sum(0) / rows.sum()
    if len(column.names) >= len(present):
        # One value for each class: were one usual in two, no strength would turn both classes round.
        places = linear_sum_assignment(excess.numpy(), maximize=True)[1].tolist()
    else:
        places = excess.argmax(1).tolist()
    return {right.names[y]: column.names[v] for y, v in zip(present.tolist(), places, strict=True)}


def find_usual(source: AbstractSource, name: str, *, task: AbstractTask) -> dict[str, str] | None:
    """Return the value that is usual in each class of a set, by :func:`pair_values`; ``None`` without such a column.

    Args:
        source: such as the training images.
        name: of the column.
        task: says what the classes are.
    """
    column = source.columns.get(name)
    if column is None or not column.names:
        return None
    grouping = group_images(source, name, task=task, bins=BINS)
    known = grouping.is_known
    return pair_values(*(each._replace(values=each.values[known]) for each in (grouping.strata, grouping.groups)))


def evaluate_under_shift(
    task: AbstractTask,
    scores: Scores,
    grouping: Grouping,
    *,
    split: str,
    head: str,
    usual: Mapping[str, str] | None = None,
    paired_on: str | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> ShiftCurve:
    """Measure a set under weights that give its classes their usual value with a given probability.

    At the strength p an image of the class y and the value v counts ``P_p(v | y) / P(v | y)`` where ``P_p`` gives the
    usual value the probability p, and the others what is left in the proportions that they have in the class. Classes
    keep their frequencies, and images of one class and one value look as they do. A strength that needs a class with
    its usual value, or with another, where the set has no such image is marked and not measured.

    Args:
        task: says what can be measured of weighted images.
        scores: of the head, for all images of the set.
        grouping: the set by the column, with classes as strata.
        split: name of the set.
        head: whose scores they are.
        usual: the usual value of each class; ``None`` finds it in this set, see :func:`pair_values`.
        paired_on: the set that ``usual`` is from.
        strengths: in [0, 1].

    Returns:
        Measures of the task that weighted images have; ``worst_value/COLUMN``, the worst of the primary one over the
        values at that strength; and ``worst_group/COLUMN``, the worst over classes and values, the same at every one.

    Raises:
        ConfigError: a strength is not in [0, 1], or the usual value of a class is not known.
        DataError: the column has one value only, or no strength can be measured.
    """
    kept, own = take_known(grouping, scores)
    column, classes = kept.groups, kept.strata
    _check_shift(kept, strengths, where=split)
    pairs = dict(usual) if usual is not None else pair_values(classes, column)
    counts = kept.cell_counts().double()
    places = _find_places(pairs, classes, column, counts, where=split)
    weigher = _Weigher(task, own, kept, counts, places)
    points = [weigher.measure(strength) for strength in strengths]
    if not any(point.measures for point in points):
        got = f"none: {points[0].reason}"
        raise DataError(f"images on {split} that can be weighted by '{kept.name}'", got, "judge another set")
    present = [y for y, total in enumerate(counts.sum(1).tolist()) if total]
    usual_images = sum(float(counts[y, places[y]]) for y in present if places[y] is not None)
    return ShiftCurve(
        split=split,
        head=head,
        column=kept.name,
        n=len(column.values),
        usual={classes.names[y]: pairs[classes.names[y]] for y in present},
        paired_on=paired_on or split,
        observed=usual_images / float(counts.sum()),
        points=points,
        notes=_write_notes(grouping, counts, places),
    )


def shift_set(
    task: AbstractTask,
    source: AbstractSource,
    scores: Scores,
    name: str,
    *,
    split: str,
    head: str,
    train: AbstractSource | None = None,
    usual: Mapping[str, str] | None = None,
    strengths: Sequence[float] = STRENGTHS,
    bins: int = BINS,
) -> ShiftCurve:
    """Measure a set by the strength of one of its columns, as :func:`evaluate_under_shift` does.

    Args:
        task: says what can be measured.
        source: the set.
        scores: of the head for all its images.
        name: of the column.
        split: name of the set.
        head: whose scores they are.
        train: says which value is usual in each class, where it has the column and that is no quantity; else the set
            itself does.
        usual: the usual value of each class instead.
        strengths: in [0, 1].
        bins: ranges of a quantity.

    Raises:
        ConfigError: the set has no such column, or see :func:`evaluate_under_shift`.
        DataError: see there.
    """
    grouping = group_images(source, name, task=task, bins=bins)
    origin = "given"
    if usual is None and train is not None and not grouping.is_binned:  # ranges of another set are others
        usual, origin = find_usual(train, name, task=task), "train"
    return evaluate_under_shift(
        task,
        scores,
        grouping,
        split=split,
        head=head,
        usual=usual,
        paired_on=None if usual is None else origin,
        strengths=strengths,
    )


def _check_shift(grouping: Grouping, strengths: Sequence[float], *, where: str) -> None:
    """Refuse a column with one value, and strengths that are no probabilities."""
    names = grouping.groups.names
    if len(names) < 2:
        got = f"{names[0]!r} only" if names else "none"
        raise DataError(f"two values or more of '{grouping.name}' on {where}", got, "name a column that differs")
    for strength in strengths:
        if not 0 <= strength <= 1:
            raise ConfigError("strengths in [0, 1]", str(strength), "they are probabilities")


def shift_weights(grouping: Grouping, usual: Mapping[str, str], *, strength: float) -> Float[Tensor, " n"]:
    """Return the weights of images under which each class has its usual value with a given probability.

    Args:
        grouping: images by a column, all with a value of it.
        usual: value of each class.
        strength: the probability, in [0, 1].

    Returns:
        Shape ``(n,)``; float64; their sum is ``n``; equal within a class and value.

    Raises:
        ConfigError: a class has no usual value.
        DataError: a class has no image with its usual value, or none with another, where such are needed.
    """
    counts = grouping.cell_counts().double()
    places = _find_places(usual, grouping.strata, grouping.groups, counts, where="the set")
    return _weigh_images(grouping, counts, places, strength=strength)


def _weigh_images(
    grouping: Grouping, counts: Float[Tensor, "classes values"], places: Sequence[int | None], *, strength: float
) -> Float[Tensor, " n"]:
    """Return :func:`shift_weights` of counted images."""
    wanted = torch.zeros_like(counts)
    for y, (name, total) in enumerate(zip(grouping.strata.names, counts.sum(1).tolist(), strict=True)):
        place, column = places[y], grouping.name
        usual = 0.0 if place is None else float(counts[y, place])
        if total and strength > 0 and not usual:
            fix = "add such images, or choose another strength"
            raise DataError(f"images of {name} with its usual value of {column}", "none", fix)
        if total and strength < 1 and usual == total:
            fix = "add such images, or choose another strength"
            raise DataError(f"images of {name} with another value of {column}", "none", fix)
        share = total / float(counts.sum())  # classes keep their frequencies
        if usual < total:
            wanted[y] = share * (1 - strength) * counts[y] / (total - usual)
        if place is not None:
            wanted[y, place] = share * strength
    return weigh_cells(counts.long(), wanted)[grouping.strata.values, grouping.groups.values]


def _find_places(
    pairs: Mapping[str, str], classes: Column, column: Column, counts: Float[Tensor, "classes values"], *, where: str
) -> list[int | None]:
    """Return for each class the number of its usual value; ``None`` where the set never has it, or not the class."""
    places: list[int | None] = []
    for y, name in enumerate(classes.names):
        value = pairs.get(name)
        if value is None and counts[y].sum() > 0:
            got = f"none for {name!r} on {where}"
            raise ConfigError("a usual value of every class", got, f"name it with --pairs {name}=VALUE")
        places.append(column.names.index(value) if value in column.names else None)
    return places


class _Weigher:
    """The measures of one set at any strength.

    Args:
        task: what can be measured.
        scores: of the images that have a value.
        grouping: of these images.
        counts: images of every class and value.
        places: number of the usual value of each class.
    """

    def __init__(
        self,
        task: AbstractTask,
        scores: Scores,
        grouping: Grouping,
        counts: Float[Tensor, "classes values"],
        places: Sequence[int | None],
    ) -> None:
        self._task, self._scores, self._grouping, self._counts, self._places = task, scores, grouping, counts, places
        self._values = task.image_values(scores)
        self._plain = task.measure(scores, {}).measures[task.primary]

    def measure(self, strength: float) -> ShiftPoint:
        """Return the measures at a strength, or why there are none."""
        try:
            weights = _weigh_images(self._grouping, self._counts, self._places, strength=strength)
        except DataError as error:
            return ShiftPoint(strength, reason=f"the strength {strength:g} would need {error.expected}; there is none")
        found = dict(self._task.measure_weighted(self._scores, weights, cells=self._grouping.cells))
        if not found:
            return ShiftPoint(strength, reason=f"{type(self._task).__name__} has no measure of weighted images")
        return ShiftPoint(strength, effective_size(weights), {**found, **self._find_worst(weights)})

    def _find_worst(self, weights: Float[Tensor, " n"]) -> dict[str, Measure]:
        """Return the worst value of the column under weights, and the worst cell of class and value."""
        if self._values is None:
            return {}
        name, cells = self._grouping.name, self._grouping.cells
        counts = cells.bincount()[cells]
        by_value = self._measure_parts(self._values, self._grouping.groups.values, weights)
        by_cell = self._measure_parts(self._values, torch.where(counts >= _FEW, cells, -1), torch.ones_like(weights))
        found = {f"worst_value/{name}": by_value, f"worst_group/{name}": by_cell}
        return {key: self._take_worst(parts) for key, parts in found.items() if parts}

    def _measure_parts(
        self, values: Float[Tensor, " n"], numbers: Int[Tensor, " n"], weights: Float[Tensor, " n"]
    ) -> list[Measure]:
        """Return the primary measure of every part that has weight; images numbered -1 are left out."""
        made = []
        for number in numbers.unique().tolist():
            mask = numbers == number
            if number >= 0 and float(weights[mask].sum()):
                mean = measure_weighted_mean(values[mask], weights[mask], cells=self._grouping.cells[mask])
                made.append(self._plain._replace(**mean._asdict()))
        return made

    def _take_worst(self, parts: Sequence[Measure]) -> Measure:
        """Return the smallest measure, or the largest where less is better."""
        choose = min if self._plain.higher_is_better else max
        return choose(parts, key=lambda measure: measure.value)


def _write_notes(
    grouping: Grouping, counts: Float[Tensor, "classes values"], places: Sequence[int | None]
) -> tuple[str, ...]:
    """Return what a reader should know: ranges, images without a value, and small cells."""
    notes = []
    if grouping.is_binned:
        notes.append(f"{grouping.name} is cut into {len(grouping.groups.names)} ranges of like many images")
    if grouping.num_unknown:
        notes.append(f"{grouping.num_unknown:,} images without a value of {grouping.name} are left out")
    small = []
    for y, name in enumerate(grouping.strata.names):
        place = places[y]
        usual = 0 if place is None else int(counts[y, place])
        others = int(counts[y].sum()) - usual
        small += [f"{name} usual ({usual})"] * (0 < usual < _FEW) + [f"{name} other ({others})"] * (0 < others < _FEW)
    if small:
        notes.append(f"fewer than ten images stand for all of their kind: {', '.join(small)}")
    return tuple(notes)
