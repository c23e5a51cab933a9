"""Tell what an emptied part of an image showed; an answer of numbers, not of classes."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional

from auxo.errors import ShapeError
from auxo.interfaces import AbstractImagePretext, PretextBatch
from auxo.options import Range
from auxo.pretexts._pixels import five_places, is_inside, memory_format_of, squares
from auxo.random import Draws
from auxo.types import Images, Losses

SOURCE = (
    "Pathak, Krahenbuhl, Donahue, Darrell, Efros, Context Encoders: Feature Learning by Inpainting, CVPR 2016 (arXiv "
    "1604.07379), the reconstruction loss alone: a square of half the side is emptied and predicted under the squared "
    "error. Differs: a head on pooled features predicts the means of a few cells of the square, where the paper's "
    "decoder predicts all its pixels; there is no adversarial loss; the square lies anywhere, or in the middle as "
    "there. Known by its abstract and from reviews; the text was not checked."
)


@dataclass(frozen=True)
class Inpaint(AbstractImagePretext):
    """Regression of the colours of an emptied square, cell by cell.

    The square has half the image's shorter side, rounded down to a multiple of ``cells``. It is set to zero, the mean
    of normalised images. The answer is the mean of each of its ``cells x cells`` cells in each channel.

    There are no classes and so no accuracy: the loss alone is reported.
    An answer of zeros has the loss of the answers' mean square, which is what to stay below.

    Example:
        >>> made = Inpaint("center", cells=1, channels=1).make_all(torch.arange(16.0).view(1, 1, 4, 4))
        >>> made.inputs[0, 0, 1].tolist(), made.targets.tolist()
        ([4.0, 0.0, 0.0, 7.0], [[7.5]])
    """

    place: Literal["random", "center"] = "random"
    """Empty a square anywhere, or the one in the middle."""
    cells: Annotated[int, Range(low=1)] = 4
    """Cells in a row and in a column; coarse, since pooled features hold no fine detail."""
    channels: Annotated[int, Range(low=1)] = 3
    """Colour channels of the images."""

    @property
    def num_outputs(self) -> int:
        """Cells times channels, channel by channel and row by row."""
        return self.channels * self.cells**2

    @property
    def chance(self) -> None:
        """There are no classes to guess."""
        return None

    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make one image with an emptied square of every image; ``"random"`` draws its row and column.

        Returns:
            Targets: of the images' dtype, shape ``(batch, num_outputs)``, detached.
        """
        count, device = len(images), images.device
        side = self._choose_side(images)
        height, width = images.shape[-2:]
        if self.place == "center":
            return self.make_all(images)
        rows, columns = (draws.integers(length - side + 1, count).to(device) for length in (height, width))
        return self._empty_squares(images, rows, columns, torch.arange(count, device=device))

    def make_all(self, images: Images) -> PretextBatch:
        """Make every image with the square in the middle; for ``"random"`` in the four corners before that."""
        count, device = len(images), images.device
        height, width = images.shape[-2:]
        places = five_places(height, width, self._choose_side(images))
        if self.place == "center":
            places = places[-1:]
        rows, columns = torch.tensor(places, device=device).repeat_interleave(count, 0).unbind(1)
        repeated = images.repeat(len(places), 1, 1, 1).contiguous(memory_format=memory_format_of(images))
        return self._empty_squares(repeated, rows, columns, torch.arange(count, device=device).repeat(len(places)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return the mean squared error of every image over its cells, in squared units of the normalised images."""
        if outputs.dtype.itemsize < 4:
            outputs = outputs.float()
        return (outputs - targets).square().mean(1)

    def _choose_side(self, images: Tensor) -> int:
        """Return the side of the square, refusing images that it does not fit."""
        _, channels, height, width = images.shape
        if channels != self.channels:
            raise ShapeError(f"images of {self.channels} channels", f"{channels}", "set the channels of the pretext")
        side = min(height, width) // 2 // self.cells * self.cells
        if side == 0:
            expected = f"images of at least {2 * self.cells}x{2 * self.cells} pixels"
            raise ShapeError(expected, f"{height}x{width} pixels", "pass --data.image-size N, or take fewer cells")
        return side

    def _empty_squares(self, images: Tensor, rows: Tensor, columns: Tensor, sources: Tensor) -> PretextBatch:
        """Return images with their squares set to zero, and what the squares showed."""
        side = self._choose_side(images)
        height, width = images.shape[-2:]
        hidden = functional.avg_pool2d(squares(images, rows, columns, side), side // self.cells)
        inside = is_inside(rows, side, height)[:, None, :, None] & is_inside(columns, side, width)[:, None, None, :]
        return PretextBatch(images.clone().masked_fill_(inside, 0), hidden.flatten(1).detach(), sources)
