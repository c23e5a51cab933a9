"""Tell where one part of an image lies as seen from another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auxo.errors import ShapeError
from auxo.interfaces import AbstractImagePretext, PretextBatch
from auxo.losses import cross_entropy_losses
from auxo.pretexts._pixels import memory_format_of, squares
from auxo.random import Draws
from auxo.types import Images, Losses

SOURCE = (
    "Doersch, Gupta, Efros, Unsupervised Visual Representation Learning by Context Prediction, ICCV 2015 (arXiv "
    "1505.05192): eight neighbours, gaps of half a patch, every patch shifted by up to 7/96 of its side. Differs: "
    "there two copies of one network see one patch each and their features are joined; here both patches stand side by "
    "side in one image, so that any backbone and method can be used unchanged. Patches are less than a quarter of "
    "the image instead of 96 pixels of a large photograph. The guards against chromatic aberration (dropped or "
    "projected colours) are left out. Gap and shift were not checked against the paper's text."
)

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""The answers in reading order: rows down and columns right of the middle patch."""

_MIN_SIDE = 3


@dataclass(frozen=True)
class _Layout:
    """Lengths in pixels.

    Args:
        side: of a patch.
        gap: between neighbouring patches, half a patch.
        jitter: by how much a patch is shifted at most.
        slack: rows and columns by which the whole 3x3 block can lie lower and further right.
        scale: how often each pixel of a patch is repeated in the input, down and right.
    """

    side: int
    gap: int
    jitter: int
    slack: tuple[int, int]
    scale: int


@dataclass(frozen=True)
class RelativePatch(AbstractImagePretext):
    """Prediction of which of its eight neighbours stands beside a patch.

    A 3x3 block of patches with gaps lies somewhere in the image. The middle patch comes to the left half of the input
    and one of its neighbours to the right half, both enlarged by repeating pixels as far as a whole factor allows; the
    rest is zero, the mean of normalised images. The input is as large as the image.

    Example:
        >>> made = RelativePatch().make_all(torch.ones(2, 3, 32, 32))
        >>> made.inputs.shape, made.targets.tolist()[:5]
        (torch.Size([16, 3, 32, 32]), [0, 0, 1, 1, 2])
    """

    @property
    def num_outputs(self) -> int:
        """Eight neighbours."""
        return len(NEIGHBOURS)

    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make one pair of every image; draws the answer, the place of the block and a shift of each patch."""
        count, device = len(images), images.device
        layout = _lay_out_patches(images)
        targets = draws.integers(self.num_outputs, count).to(device)
        down, right = (layout.jitter + draws.integers(slack + 1, count) for slack in layout.slack)
        shifts = [draws.integers(2 * layout.jitter + 1, count) - layout.jitter for _ in range(4)]
        middle = (down + shifts[0]).to(device), (right + shifts[1]).to(device)
        neighbour = (down + shifts[2]).to(device), (right + shifts[3]).to(device)
        inputs = _pair_patches(images, targets, middle, neighbour, layout)
        return PretextBatch(inputs, targets, torch.arange(count, device=device))

    def make_all(self, images: Images) -> PretextBatch:
        """Make all eight pairs of every image, unshifted and from the middle, in blocks of the size of the batch."""
        count, device = len(images), images.device
        layout = _lay_out_patches(images)
        targets = torch.arange(self.num_outputs, device=device).repeat_interleave(count)
        down, right = (torch.full_like(targets, layout.jitter + slack // 2) for slack in layout.slack)
        repeated = images.repeat(self.num_outputs, 1, 1, 1).contiguous(memory_format=memory_format_of(images))
        inputs = _pair_patches(repeated, targets, (down, right), (down, right), layout)
        return PretextBatch(inputs, targets, torch.arange(count, device=device).repeat(self.num_outputs))

    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return the cross-entropy of every pair in nats."""
        return cross_entropy_losses(outputs, targets)


def _lay_out_patches(images: Tensor) -> _Layout:
    """Return the largest patches that fit three times with gaps and shifts.

    Raises:
        ShapeError: the patches would be smaller than 3x3 pixels.
    """
    height, width = images.shape[-2:]
    for side in range(min(height, width) // 3, _MIN_SIDE - 1, -1):
        gap, jitter = side // 2, max(1, round(side * 7 / 96))
        slack = height - (3 * side + 2 * gap + 2 * jitter), width - (3 * side + 2 * gap + 2 * jitter)
        if min(slack) >= 0:
            return _Layout(side, gap, jitter, slack, min(height, width // 2) // side)
    raise ShapeError("images of at least 13x13 pixels", f"{height}x{width} pixels", "pass --data.image-size N")


def _pair_patches(
    images: Tensor, targets: Tensor, middle: tuple[Tensor, Tensor], neighbour: tuple[Tensor, Tensor], layout: _Layout
) -> Tensor:
    """Return the middle patch beside the neighbour that the answer names.

    Args:
        images: what both are cut from.
        targets: the answers.
        middle: row and column of the block for the middle patch, shifted.
        neighbour: the same for its neighbour.
        layout: lengths.
    """
    height, width = images.shape[-2:]
    step = layout.side + layout.gap
    offsets = step * (1 + torch.tensor(NEIGHBOURS, device=images.device)[targets])
    inputs = torch.zeros_like(images)
    size = layout.scale * layout.side
    top = (height - size) // 2
    pair = (middle[0] + step, middle[1] + step), (neighbour[0] + offsets[:, 0], neighbour[1] + offsets[:, 1])
    for half, (rows, columns) in enumerate(pair):
        patches = squares(images, rows, columns, layout.side)
        patches = patches.repeat_interleave(layout.scale, 2).repeat_interleave(layout.scale, 3)
        left = half * (width // 2) + (width // 2 - size) // 2
        inputs[:, :, top : top + size, left : left + size] = patches
    return inputs
