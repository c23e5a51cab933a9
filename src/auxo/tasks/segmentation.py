"""Which class every pixel of an image is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan, nan
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.errors import DataError, ShapeError
from auxo.losses import IGNORE, pixel_cross_entropy_losses
from auxo.tasks._found import Answer, Measure, Measured, Part, paint_numbers
from auxo.tasks._interface import AbstractTask, Scores, Source, Target
from auxo.tasks._intervals import Interval, bootstrap_sums, bootstrap_weighted
from auxo.tasks._palette import choose_colours
from auxo.tasks._pixel_sums import (
    MEASURES,
    PixelSums,
    check_sums,
    find_ious,
    find_measures,
    measure_sums,
    read_sums,
    score_pixels,
    sum_confusions,
)
from auxo.types import MASK, Column

SOURCE = (
    "Mean intersection over union: Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, "
    "IJCV 111, 2015, section 2.2. Pixel and mean accuracy: Long, Shelhamer, Darrell, Fully Convolutional Networks for "
    "Semantic Segmentation, CVPR 2015 (arXiv 1411.4038), section 5."
)

_MOST_CLASSES = IGNORE  # so that a byte holds them and the value to ignore
_BY_CLASS = "class"


@dataclass(frozen=True)
class Segmentation(AbstractTask):
    """Which class every pixel is of; those with the value 255 are ignored.

    Every measure is of the pixels of all images together, and its interval is the bootstrap over images, or over
    blocks of them: ``mIoU``, the mean over classes of intersection over union, where classes that neither the truth
    nor the answers of the set have are left out; ``pixel_accuracy``; ``mean_accuracy``, the mean over the classes that
    the truth has of the accuracy of their pixels; ``nll``, the mean negative log-likelihood of the right class.

    Args:
        class_names: one name per class, in the order of the numbers of the masks.
        channels: colour channels of an image.
        height: pixels.
        width: pixels.
        pixel_counts: training pixels of each class; empty where they are not known.
        colours: red, green and blue, 0..255, of each class; empty where auxo chooses them.
        blocks: column whose equal values mark images that are not independent; empty where all are.
    """

    class_names: tuple[str, ...]
    channels: int
    height: int
    width: int
    pixel_counts: tuple[int, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    blocks: str = ""

    primary: ClassVar[str] = next(iter(MEASURES))
    hub_tag: ClassVar[str] = "image-segmentation"
    is_size_fixed: ClassVar[bool] = False
    confused: ClassVar[str] = "pixels"
    mask_target: ClassVar[str | None] = MASK

    @classmethod
    def from_source(cls, source: Source) -> "Segmentation":
        """Return the classes of a source's masks, with the number of its pixels of each."""
        names = source.vocabulary.get(MASK, ())
        if not names:
            got, fix = f"'{source.name}' without a target '{MASK}'", "give masks, or another task with --task.name"
            raise DataError("images with masks", got, fix)
        counts, colours = source.count_places(MASK), source.colours.get(MASK, ())
        return cls(names, *source.image_shape, pixel_counts=counts, colours=colours, blocks=source.blocks)

    @classmethod
    def check_source(cls, source: Source) -> None:
        """Refuse training images of fewer than two classes, of more than 255, and without a pixel that has one."""
        task = cls.from_source(source)
        names = task.class_names
        if len(names) < 2:
            got = f"only {list(names)} in '{source.name}'"
            raise DataError("masks of at least two classes", got, "add another class")
        if len(names) > _MOST_CLASSES:
            got = f"{len(names)} in '{source.name}'"
            raise DataError(f"masks of at most {_MOST_CLASSES} classes", got, "merge classes")
        if not any(task.pixel_counts):
            got = f"none in '{source.name}'"
            raise DataError("training pixels that have a class", got, "give masks that are not all ignored")

    @property
    def notes(self) -> tuple[str, ...]:
        """Which classes no training pixel is of."""
        counts = zip(self.class_names, self.pixel_counts, strict=False)
        absent = [name for name, count in counts if not count]
        return (f"no training pixel is of the class {', '.join(absent)}",) if absent else ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The map ``mask``."""
        return (Target(MASK, self.class_names, has_places=True, ignore=IGNORE),)

    @property
    def num_outputs(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def chance(self) -> float | None:
        """The mIoU of the largest class of the training pixels for every pixel, on pixels like these."""
        shown = [count for count in self.pixel_counts if count]
        return max(shown) / sum(shown) / len(shown) if shown else None

    def describe(self) -> str:
        """Return what the network does."""
        return f"A network for semantic segmentation: it gives one of {self.num_outputs} classes to every pixel."

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Red, green and blue of every class: those of the data, or colours that are told apart."""
        return self.colours or choose_colours(self.num_outputs)

    def losses(
        self, outputs: Float[Tensor, "n classes height width"], targets: Mapping[str, Tensor]
    ) -> Float[Tensor, "n height width"]:
        """Return the cross-entropy of every pixel, nats, shape ``(n, height, width)``; 0 for pixels to ignore."""
        return pixel_cross_entropy_losses(outputs, targets[MASK])

    def score(self, outputs: Float[Tensor, "n classes height width"], targets: Mapping[str, Tensor]) -> Scores:
        """Return counts of pixels by right and given class, and the summed negative log-likelihood."""
        if outputs.ndim != 4 or outputs.shape[1] != self.num_outputs:
            expected, got = f"logits of shape (n, {self.num_outputs}, height, width)", str(tuple(outputs.shape))
            raise ShapeError(expected, got, "give the head's own logits")
        return score_pixels(outputs, targets[MASK], ignore=IGNORE)

    def measure(self, scores: Scores, columns: Mapping[str, Column]) -> Measured:
        """Return the measures of all pixels with intervals, and mIoU by class and by group."""
        sums = read_sums(scores)
        total = sums.total()
        check_sums(total)
        block = columns.get(self.blocks) if self.blocks else None
        clusters = None if block is None else block.values
        measures = measure_sums(sums)
        of_classes = self._part_by_class(sums)
        if len(sums.nll if clusters is None else clusters.unique()) > 1:
            ends = bootstrap_sums(_find_all, sums.join(), clusters=clusters)
            pairs = zip(measures, ends[: len(measures)], strict=True)
            measures = {name: measures[name]._replace(low=end.low, high=end.high) for name, end in pairs}
            own = zip(of_classes, ends[len(measures) :], strict=True)
            of_classes = {name: _add_interval(of_classes[name], end) for name, end in own}
        parts = {_BY_CLASS: of_classes}
        for name, column in columns.items():
            if name != self.blocks:  # which are many and small
                parts[f"{name} (column)" if name == _BY_CLASS else name] = _part_by_column(sums, column)
        return Measured(measures, parts, tuple(self._write_notes(total, clusters)))

    def measure_weighted(
        self, scores: Scores, weights: Float[Tensor, " n"], *, cells: Int[Tensor, " n"]
    ) -> Mapping[str, Measure]:
        """Return the mIoU of the pixels of weighted images, with its bootstrap interval within cells."""
        rows = read_sums(scores).join()
        value = float(PixelSums.split(weights.double()[None] @ rows).mean_iou[0])
        ends = bootstrap_weighted(lambda drawn: PixelSums.split(drawn @ rows).mean_iou, weights, cells=cells)
        return {self.primary: Measure(value, *ends)}

    def confusion(self, scores: Scores) -> Int[np.ndarray, "classes classes"] | None:
        """Return the pixels of each class, by row, that were given each class, by column; of up to 32 classes."""
        return sum_confusions(scores)

    def rank_images(self, scores: Scores) -> Float[Tensor, " n"]:
        """Return the mIoU of every image alone; NaN where no pixel of it is known."""
        return read_sums(scores).mean_iou

    def draw_targets(self, targets: Mapping[str, Tensor]) -> list[UInt8[np.ndarray, "height width 3"]]:
        """Return masks in the colours of their classes, white where they are to be ignored."""
        return [paint_numbers(mask, self.palette) for mask in targets[MASK].to(torch.uint8).cpu().numpy()]

    @property
    def legend(self) -> Mapping[str, tuple[int, int, int]]:
        """The classes with their colours."""
        return dict(zip(self.class_names, self.palette, strict=True))

    def answer_columns(self) -> tuple[str, ...]:
        """Return the heads of the columns: the part of the image that each class takes."""
        return tuple(f"share({name})" for name in self.class_names)

    def answers(self, outputs: Float[Tensor, "n classes height width"]) -> list[Answer]:
        """Return the part of every image that each class takes, and the class of every pixel as an image."""
        found = []
        for given in outputs.argmax(1).cpu():
            shares = given.flatten().bincount(minlength=self.num_outputs).double() / given.numel()
            cells = tuple(f"{share:.6f}" for share in shares.tolist())
            found.append(Answer(cells, given.to(torch.uint8).numpy(), self.palette))
        return found

    def _part_by_class(self, sums: PixelSums) -> dict[str, Part]:
        """Return the intersection over union of each class, with the number of images that show it."""
        ious, shown = sums.total().ious[0].tolist(), (sums.true > 0).sum(0).tolist()
        pairs = zip(self.class_names, shown, ious, strict=True)
        return {name: Part(n, None if isnan(iou) else iou) for name, n, iou in pairs}

    def _write_notes(self, total: PixelSums, clusters: Int[Tensor, " n"] | None) -> list[str]:
        """Return which classes were left out of the mean, and what the intervals draw."""
        absent = [name for name, iou in zip(self.class_names, total.ious[0].isnan().tolist(), strict=True) if iou]
        notes = [f"left out of {self.primary}, in neither masks nor answers: {', '.join(absent)}"] if absent else []
        if clusters is not None:
            notes.append(f"intervals draw whole blocks of images, {len(clusters.unique())} by {self.blocks}")
        return notes


def _find_all(rows: Float[Tensor, "sets columns"]) -> Float[Tensor, "sets values"]:
    """Return all measures and then the intersection over union of every class, of many sets, a row each."""
    return torch.cat([find_measures(rows), find_ious(rows)], 1)


def _add_interval(part: Part, ends: Interval) -> Part:
    """Return a part with its interval, if it has a value."""
    return part if part.value is None else part._replace(low=ends.low, high=ends.high)


def _part_by_column(sums: PixelSums, column: Column) -> dict[str, Part]:
    """Return the mIoU of the images of each value of a column."""
    rows, found = sums.join(), {}
    for number, name in enumerate(column.names):
        members = rows[column.values == number]
        value = float(PixelSums.split(members).total().mean_iou[0]) if len(members) else nan
        found[name] = Part(len(members), None if isnan(value) else value)
    return found
