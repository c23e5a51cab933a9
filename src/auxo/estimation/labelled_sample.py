"""The measure of a set from a few labels: images drawn at random, labelled by a person, with an exact interval."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auxo.data import AbstractSource
from auxo.data.csv_table import open_table
from auxo.errors import ConfigError, DataError
from auxo.estimation.indicators import read_indicators
from auxo.evaluation import Reader
from auxo.files.csv_cells import safe_cell
from auxo.random import derive_seed

_COLUMNS = ("number", "image", "label", "planned")


@dataclass(frozen=True)
class LabelledSample:
    """Images to be labelled, in a random order that was fixed beforehand.

    Args:
        images: places of the images, in that order.
        planned: for each image how many were to be labelled when it was added.
        labels: of the first of them; as many as are labelled.
    """

    images: tuple[str, ...]
    planned: tuple[int, ...]
    labels: tuple[str, ...] = ()

    @property
    def is_as_planned(self) -> bool:
        """Whether all images are labelled, and their number was fixed before the first look at any result."""
        return len(self.labels) == len(self.images) and len({*self.planned}) == 1

    def extend(self, images: Sequence[str]) -> "LabelledSample":
        """Return the sample with more images, which begin with its own; labels stay."""
        added = (len(images),) * (len(images) - len(self.images))
        return LabelledSample(tuple(images), (*self.planned, *added), self.labels)

    def to_csv(self) -> str:
        """Return the file for the one who labels: no prediction is in it."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_COLUMNS)
        labels = (*self.labels, *[""] * (len(self.images) - len(self.labels)))
        for number, (image, label, planned) in enumerate(zip(self.images, labels, self.planned, strict=True), 1):
            writer.writerow([number, safe_cell(image), safe_cell(label), planned])
        return text.getvalue()


def read_labelled(path: Path, order: Sequence[str]) -> LabelledSample:
    """Return the sample of a file.

    Args:
        path: of the file, from :meth:`LabelledSample.to_csv`, with labels filled in.
        order: places of all images of the set, in the order of the draw.

    Raises:
        DataError: it is no such file, is of other images, or an image is passed over.
    """
    what = f"a file of auxo estimate --labels with the columns {', '.join(_COLUMNS)}"
    fix = "take the file that auxo estimate --labels NUMBER wrote, and fill in the column label"
    with open_table(path, what=what) as table:
        if not {*_COLUMNS} <= {*table.header}:
            raise DataError(what, f"{path} with {', '.join(table.header) or 'no header'}", fix)
        rows = list(table.rows)
    images: list[str] = []
    labels: list[str] = []
    for place, (line, cells) in enumerate(rows):
        if place >= len(order) or not _are_same(cells["image"], str(safe_cell(order[place]))):
            expected = f"'{order[place]}'" if place < len(order) else "no more images"
            raise DataError(f"{expected} in line {line} of {path}", f"'{cells['image']}'", fix)
        if not cells["planned"].isdecimal():
            raise DataError(f"a number under 'planned' in line {line} of {path}", f"'{cells['planned']}'", fix)
        if cells["label"] and len(labels) < place:
            expected = f"a label for each image above line {line} of {path}"
            fix = "label from the top: a choice of images bends the result"
            raise DataError(expected, "one that was passed over", fix)
        images.append(order[place])
        labels += [cells["label"]] if cells["label"] else []
    return LabelledSample(tuple(images), tuple(int(cells["planned"]) for _, cells in rows), tuple(labels))


def _are_same(one: str, other: str) -> bool:
    """Return whether two places are the same, however the way to them is written."""
    return one == other or os.path.abspath(one) == os.path.abspath(other)


@dataclass(frozen=True)
class Answered:
    """What the labels of a sample say of the whole set.

    Args:
        name: of the set.
        size: its images.
        count: those that are labelled.
        right: those of them whose answer is right.
        low: lower end of the interval, a share.
        high: upper end.
        confidence: of the interval.
        is_as_planned: whether their number was fixed beforehand; else the interval is the sequential one.
    """

    name: str
    size: int
    count: int
    right: int
    low: float
    high: float
    confidence: float
    is_as_planned: bool

    def describe(self) -> str:
        """Return the result in words, behind the name of the measure and "of"."""
        kind = "exact (Clopper-Pearson)" if self.is_as_planned else "for any number of labels (prior-posterior ratio)"
        return (
            f"{self.name}: {100 * self.right / self.count:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}], "
            f"{self.right} of {self.count} labelled images that were drawn at random of {self.size:,}; "
            f"interval of {100 * self.confidence:g} %, {kind}"
        )

    def to_record(self) -> dict[str, object]:
        """Return values that JSON has."""
        return {"kind": "labelled", **asdict(self)}


def judge_sample(
    reader: Reader,
    source: AbstractSource,
    sample: LabelledSample,
    positions: Sequence[int],
    targets: Mapping[str, Tensor],
    *,
    confidence: float,
) -> Answered:
    """Return what labels say of a set.

    Args:
        reader: of the model.
        source: the whole set.
        sample: what is labelled of it.
        positions: of the labelled images.
        targets: their labels as numbers, by target.
        confidence: of the interval.

    Raises:
        ConfigError: the task's primary measure is not a share of right answers.
        NonFiniteError: an output is not a finite number.
    """
    images = source.fetch(torch.tensor(positions))
    values = read_indicators(reader, images, name=source.name, targets=targets).known_values
    if not set(values.tolist()) <= {0.0, 1.0}:
        task = reader.task
        fix = "labels of a sample judge shares of right answers only"
        raise ConfigError("answers that are right or wrong", f"{task.primary} of {type(task).__name__}", fix)
    right, count, size = int(values.sum()), len(values), len(source)
    if sample.is_as_planned:
        low, high = exact_interval(right, count, confidence=confidence)
    else:
        low, high = sequential_interval(right, count, size, confidence=confidence)
    return Answered(source.name, size, count, right, low, high, confidence, sample.is_as_planned)


def draw_order(size: int, *, seed: int) -> list[int]:
    """Return the positions of a set in the random order in which they are to be labelled.

    Args:
        size: images of the set.
        seed: of the run.
    """
    generator = np.random.default_rng(derive_seed(seed, "estimate", "labels"))
    return [int(position) for position in generator.permutation(size)]


def exact_interval(right: int, count: int, *, confidence: float) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson (1934) for a proportion; for a number of images fixed beforehand.

    Where images are drawn from a set without being put back, it is wider than needed, never too narrow.

    Example:
        >>> [round(end, 4) for end in exact_interval(0, 50, confidence=0.95)]
        [0.0, 0.0711]
    """
    from scipy.stats import binomtest  # a second of start-up

    found = binomtest(right, count).proportion_ci(confidence_level=confidence, method="exact")
    return float(found.low), float(found.high)


def sequential_interval(right: int, count: int, size: int, *, confidence: float) -> tuple[float, float]:
    """Return an interval for the proportion in a finite set that holds at every number of labels at once.

    It may be looked at after each label, and labelling may go on or end for whatever was seen. It is the
    prior-posterior ratio of a uniform prior on the number of right answers in the set: those numbers stay whose
    posterior is more than ``1 - confidence`` times their prior.

    Source: Waudby-Smith, Ramdas, Confidence sequences for sampling without replacement, NeurIPS 2020
        (https://arxiv.org/abs/2006.04347).

    Args:
        right: answers of the labelled images that are right.
        count: labelled images, drawn without being put back.
        size: images of the set.
        confidence: of the whole sequence.

    Example:
        >>> sequential_interval(8, 10, 10, confidence=0.95)
        (0.8, 0.8)
    """
    from scipy.stats import betabinom  # a second of start-up

    further = np.arange(size - count + 1)
    posterior = betabinom.pmf(further, size - count, 1 + right, 1 + count - right)
    kept = right + further[posterior * (size + 1) > 1 - confidence]
    return float(kept[0]) / size, float(kept[-1]) / size
