"""Random labels, of single pixels or of squares: what a labeller must beat (a lower bound)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.options import Range
from auxo.pretexts.labellers._interface import AbstractPixelLabeller, LabellerConfig, LabelSource, count_clusters
from auxo.random import named_generator
from auxo.types import Batch

SOURCE = "Ours: a control, under which positives are of the same class by chance alone."


class Random(AbstractPixelLabeller):
    """Labels every pixel, or every square of pixels, at random.

    Args:
        num_labels: that are drawn from, all with the same probability.
        square: pixels of a side.
        seed: of the draws, which an image's position continues.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(LabellerConfig):
        """Options of random labels."""

        is_costly = False

        clusters: Annotated[int, Range(low=0)] = 0
        """Labels; 0 means two for every class of the task."""
        square: Annotated[int, Range(low=1)] = 1
        """Pixels of a side of the squares that have one label; 1 draws one for every pixel."""

        def num_labels(self, num_classes: int) -> int:
            """Return how many labels are drawn from."""
            return count_clusters(self.clusters, num_classes)

        def learn(self, source: LabelSource) -> "Random":
            """Return the labeller; it learns nothing."""
            return Random(self.num_labels(source.num_classes), self.square, seed=source.start.seed)

    def __init__(self, num_labels: int, square: int, *, seed: int) -> None:
        self._num_labels, self._square, self._seed = num_labels, square, seed

    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return labels that follow from the seed and each image's position."""
        height, width = batch.images.shape[2:]
        rows, columns = torch.arange(height) // self._square, torch.arange(width) // self._square
        size = (int(rows[-1]) + 1, int(columns[-1]) + 1)
        drawn = [
            torch.randint(self._num_labels, size, generator=named_generator(self._seed, "begin", "random", index))
            for index in batch.indices.tolist()
        ]
        return torch.stack(drawn)[:, rows[:, None], columns].int().to(batch.images.device)
