"""Superpixels: each image by itself cut into pieces of like colour (a lower bound, within one image)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.options import Range
from auxo.pretexts.labellers._interface import AbstractPixelLabeller, LabellerConfig, LabelSource
from auxo.types import Batch

SOURCE = (
    "k-means on colour and position from a grid of seeds, after SLIC (Achanta, Shaji, Smith, Lucchi, Fua, "
    "Suesstrunk, SLIC Superpixels Compared to State-of-the-Art Superpixel Methods, TPAMI 2012). Unlike SLIC: colours "
    "are RGB, every pixel may join any of the nine seeds around it, and pieces need not be connected."
)


class Superpixels(AbstractPixelLabeller):
    """Labels every pixel by its image and its piece of it.

    Args:
        side: pixels of a side of the grid's cells.
        compactness: of position against colour.
        steps: of k-means.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(LabellerConfig):
        """Options of superpixels."""

        side: Annotated[int, Range(low=2)] = 8
        """Pixels of a side of the grid that pieces begin as; their size, about."""
        compactness: Annotated[float, Range(above=0)] = 0.1
        """What a distance of one side counts, as a difference of colour in [0, 1]; larger keeps pieces square."""
        steps: Annotated[int, Range(low=0)] = 5
        """Steps of k-means; 0 leaves the squares of the grid."""

        def num_labels(self, num_classes: int) -> None:
            """Return nothing: there are more than images."""
            del num_classes

        def learn(self, source: LabelSource) -> "Superpixels":
            """Return the labeller; it learns nothing from other images."""
            del source
            return Superpixels(self.side, self.compactness, self.steps)

    def __init__(self, side: int, compactness: float, steps: int) -> None:
        self._side, self._compactness, self._steps = side, compactness, steps

    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the pieces, numbered on from image to image."""
        assert batch.normalisation is not None  # the reader has normalised them
        pixels = batch.normalisation.to_pixels(batch.images.float()).cpu()  # where sums have one order
        n, _, height, width = pixels.shape
        rows, columns = (-(-size // self._side) for size in (height, width))
        points = self._place_points(pixels)
        near = _find_neighbours(height, width, self._side, (rows, columns))
        nearest = near[4].expand(n, -1)  # the cell that a pixel lies in
        for _ in range(self._steps):
            nearest = _move_pixels(points, _average_pieces(points, nearest, rows * columns), near)
        first = batch.indices.cpu() * rows * columns
        return (nearest + first[:, None]).int().view(n, height, width).to(batch.images.device)

    def _place_points(self, pixels: Float[Tensor, "n channels height width"]) -> Float[Tensor, "n pixels dim"]:
        """Return the colour and the weighed position of every pixel."""
        n, _, height, width = pixels.shape
        grid = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        position = torch.stack(grid).to(pixels) * (self._compactness / self._side)
        return torch.cat([pixels, position.expand(n, -1, -1, -1)], 1).flatten(2).transpose(1, 2)


def _find_neighbours(height: int, width: int, side: int, grid: tuple[int, int]) -> Int[Tensor, "9 pixels"]:
    """Return the numbers of the nine cells around every pixel; at the rim some are there twice."""
    row, column = torch.meshgrid(torch.arange(height) // side, torch.arange(width) // side, indexing="ij")
    steps = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    around = [
        (row + down).clamp(0, grid[0] - 1) * grid[1] + (column + right).clamp(0, grid[1] - 1) for down, right in steps
    ]
    return torch.stack(around).flatten(1)


def _average_pieces(
    points: Float[Tensor, "n pixels dim"], nearest: Int[Tensor, "n pixels"], count: int
) -> Float[Tensor, "n count dim"]:
    """Return the mean point of every piece; one that has lost its pixels is far from all."""
    index = nearest[:, :, None].expand_as(points)
    sums = points.new_zeros(len(points), count, points.shape[2]).scatter_add_(1, index, points)
    sizes = points.new_zeros(len(points), count).scatter_add_(1, nearest, torch.ones_like(points[:, :, 0]))
    return torch.where(sizes[:, :, None] > 0, sums / sizes.clamp_min(1)[:, :, None], torch.inf)


def _move_pixels(
    points: Float[Tensor, "n pixels dim"], means: Float[Tensor, "n count dim"], near: Int[Tensor, "9 pixels"]
) -> Int[Tensor, "n pixels"]:
    """Return the nearest of the pieces around every pixel."""
    distances = torch.stack([(points - means[:, cells]).square().sum(2) for cells in near])
    return near.gather(0, distances.argmin(0))
