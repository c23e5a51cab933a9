"""Tell by how many quarter turns an image was rotated."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from auxo.interfaces import AbstractImagePretext, PretextBatch
from auxo.losses import cross_entropy_losses
from auxo.pretexts._pixels import check_square, memory_format_of
from auxo.random import Draws
from auxo.types import Images, Losses

SOURCE = (
    "Gidaris, Singh, Komodakis, Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018 "
    "(arXiv 1803.07728); 'expand' and 'random' as in Deng, Gould, Zheng, ICML 2021 (arXiv 2106.05961)."
)


def rotate_all(images: Tensor) -> Tensor:
    """Return all four quarter turns of every image, rotation-major.

    Block ``k`` is ``torch.rot90(images, k, (2, 3))``: ``k`` quarter turns counter-clockwise.

    Args:
        images: shape ``(batch, channels, side, side)``; any dtype.

    Returns:
        Shape ``(4 * batch, channels, side, side)``: all upright, all 90, all 180, all 270 degrees; same memory format.

    Raises:
        ShapeError: the images are not square.
    """
    check_square(images, purpose="quarter turns")
    count = len(images)
    shape = (4 * count, *images.shape[1:])
    rotated = torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=memory_format_of(images))
    for turns in range(4):
        rotated[turns * count : (turns + 1) * count] = torch.rot90(images, turns, (2, 3))
    return rotated


def rotate_each(images: Tensor, quarter_turns: Tensor) -> Tensor:
    """Return every image rotated counter-clockwise by its own number of quarter turns, without a loop over images.

    Args:
        images: shape ``(batch, channels, side, side)``; any dtype.
        quarter_turns: shape ``(batch,)``; int64 in 0..3.

    Returns:
        Shape and memory format of ``images``.

    Raises:
        ShapeError: the images are not square.
    """
    check_square(images, purpose="quarter turns")
    chosen = quarter_turns.to(images.device).view(-1, 1, 1, 1)
    quartered = torch.where(chosen % 2 == 1, torch.rot90(images, 1, (2, 3)), images)
    rotated = torch.where(chosen >= 2, quartered.flip((2, 3)), quartered)
    return rotated.contiguous(memory_format=memory_format_of(images))


@dataclass(frozen=True)
class Rotation(AbstractImagePretext):
    """Rotation prediction: four classes, 0, 90, 180 and 270 degrees counter-clockwise.

    Ill-posed for images that look alike when turned, such as the digits 0, 1, 8 or 6 and 9, whose accuracy therefore
    stays below one.

    Example:
        >>> made = Rotation("expand").make_all(torch.arange(4.0).view(1, 1, 2, 2))
        >>> made.inputs[1, 0].tolist(), made.targets.tolist()
        ([[1.0, 3.0], [0.0, 2.0]], [0, 1, 2, 3])
    """

    mode: Literal["expand", "random"] = "expand"
    """All four rotations of every image, four times the batch, or one random rotation of each."""

    @property
    def num_outputs(self) -> int:
        """Four quarter turns."""
        return 4

    @property
    def begins_upright(self) -> bool:
        """Whether all four rotations are made: the first block of them is upright."""
        return self.mode == "expand"

    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make rotated images and their quarter turns; ``"expand"`` draws nothing."""
        if self.mode == "expand":
            return self.make_all(images)
        turns = draws.integers(4, len(images)).to(images.device)
        return PretextBatch(rotate_each(images, turns), turns, torch.arange(len(images), device=images.device))

    def make_all(self, images: Images) -> PretextBatch:
        """Make all four rotations of every image, rotation-major as :func:`rotate_all`."""
        count = len(images)
        targets = torch.arange(4, device=images.device).repeat_interleave(count)
        sources = torch.arange(count, device=images.device).repeat(4)
        return PretextBatch(rotate_all(images), targets, sources)

    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return the cross-entropy of every rotated image in nats."""
        return cross_entropy_losses(outputs, targets)
