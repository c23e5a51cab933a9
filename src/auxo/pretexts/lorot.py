"""Tell by how many quarter turns a part of an image was rotated, and where it lies."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import ShapeError
from auxo.interfaces import PretextBatch
from auxo.pretexts._pixels import five_places, memory_format_of, move_pixels
from auxo.pretexts._quadrants import AbstractQuadrantPretext
from auxo.random import Draws
from auxo.types import Images

SOURCE = (
    "Moon, Kim, Heo, Tailoring Self-Supervision for Supervised Learning, ECCV 2022 (arXiv 2207.10023), after the "
    "released code github.com/wjun0830/Localizable-Rotation; the paper's text was not read. LoRot-E: a uniformly drawn "
    "quadrant is turned by k quarter turns, class 4 * quadrant + k; quadrants count from the top left, row by row. "
    "LoRot-I: a square of side 2 to half the image is turned, class k; the release draws one square for the whole "
    "batch and never one that touches the last row or column, we draw one for each image from all that fit."
)

_MIN_SIDE = 2


def rotate_squares(
    images: Images,
    rows: Int[Tensor, " batch"],
    columns: Int[Tensor, " batch"],
    sides: Int[Tensor, " batch"],
    quarter_turns: Int[Tensor, " batch"],
    *,
    largest: int,
) -> Images:
    """Return images in each of which a square of its own place and size is rotated counter-clockwise.

    Args:
        images: shape ``(batch, channels, height, width)``.
        rows: int64 row of the square's upper left pixel.
        columns: int64 column of it.
        sides: int64 sides in pixels, at most ``largest``; the squares must lie in the image.
        quarter_turns: int64 in 0..3.
        largest: pixels, at most the image's shorter side; only windows of this side are touched.

    Returns:
        Shape and memory format of ``images``; attached to the graph.
    """
    height, width = images.shape[-2:]
    row, column, side, turns = (values[:, None] for values in (rows, columns, sides, quarter_turns))
    window = torch.arange(largest, device=images.device)
    down = window + row.clamp(max=height - largest) - row
    right = window + column.clamp(max=width - largest) - column
    places = ((row + down) * width)[:, :, None] + (column + right)[:, None, :]
    inside = ((down >= 0) & (down < side))[:, :, None] & ((right >= 0) & (right < side))[:, None, :]
    # Turned by k, place (a, b) of the square shows (a, b), (b, last-a), (last-a, last-b) or (last-b, a).
    down = torch.where((turns == 1) | (turns == 2), side - 1 - down, down)
    right = torch.where(turns >= 2, side - 1 - right, right)
    is_odd = turns % 2 == 1
    from_down = torch.where(is_odd, column + down, (row + down) * width)
    from_right = torch.where(is_odd, (row + right) * width, column + right)
    sources = torch.where(inside, from_down[:, :, None] + from_right[:, None, :], places)
    return move_pixels(images, sources.flatten(1)[:, None], places.flatten(1)[:, None])


@dataclass(frozen=True)
class LoRot(AbstractQuadrantPretext):
    """Localisable rotation: the image stays upright but for one part.

    Four of the sixteen classes of E show the image as it is, so no network exceeds an accuracy of 13/16 on them.

    Example:
        >>> made = LoRot().make_all(torch.arange(16.0).view(1, 1, 4, 4))
        >>> made.inputs[1, 0, :2, :2].tolist(), made.targets.tolist() == list(range(16))
        ([[1.0, 5.0], [0.0, 4.0]], True)
    """

    variant: Literal["E", "I"] = "E"
    """E rotates a quadrant and asks for quadrant and turns, 16 classes; I rotates a square anywhere, of side 2 to half
    the image, and asks for the turns, 4 classes."""

    @property
    def stream(self) -> str:
        """That of rotation, by whose name this task first came into gated mixtures: their first weights stay."""
        return "rotation"

    @property
    def num_codes(self) -> int:
        """Four quarter turns."""
        return 4

    @property
    def num_outputs(self) -> int:
        """Quadrants times quarter turns for E, quarter turns for I."""
        return 16 if self.variant == "E" else 4

    def transform(self, quadrant: Tensor, code: int) -> Tensor:
        """Return a quadrant of shape ``(channels, side, side)`` rotated counter-clockwise by ``code`` quarter turns."""
        return torch.rot90(quadrant, code, (1, 2))

    def targets(self, quadrants: Tensor, codes: Tensor) -> Tensor:
        """Return ``4 * quadrant + code`` for E, the codes themselves for I."""
        return 4 * quadrants + codes if self.variant == "E" else codes

    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make one input of every image: E draws quadrant and turns, I draws side, row, column and turns."""
        if self.variant == "E":
            return super().make(images, draws=draws)
        count, device = len(images), images.device
        height, width = images.shape[-2:]
        largest = _largest_side(images)
        sides = _MIN_SIDE + draws.integers(largest - _MIN_SIDE + 1, count)
        rows, columns = ((draws.uniform(count) * (length - sides + 1)).long() for length in (height, width))
        turns = draws.integers(4, count).to(device)
        inputs = rotate_squares(images, rows.to(device), columns.to(device), sides.to(device), turns, largest=largest)
        return PretextBatch(inputs, turns, torch.arange(count, device=device))

    def make_all(self, images: Images) -> PretextBatch:
        """Make every variant of every image, in blocks of the size of the batch.

        E: 16 blocks in the order of the answers. I has too many variants: squares of half the side in the four corners
        and in the middle stand for them, each under the four turns: 20 blocks, places slowest.
        """
        if self.variant == "E":
            return super().make_all(images)
        count, device = len(images), images.device
        side = _largest_side(images)
        height, width = images.shape[-2:]
        places = torch.tensor(five_places(height, width, side), device=device)
        rows, columns = places.repeat_interleave(4 * count, 0).unbind(1)
        turns = torch.arange(4, device=device).repeat_interleave(count).repeat(len(places))
        repeated = images.repeat(4 * len(places), 1, 1, 1).contiguous(memory_format=memory_format_of(images))
        inputs = rotate_squares(repeated, rows, columns, torch.full_like(rows, side), turns, largest=side)
        return PretextBatch(inputs, turns, torch.arange(count, device=device).repeat(4 * len(places)))


def _largest_side(images: Tensor) -> int:
    """Return half the shorter side, refusing images too small for a square of two pixels."""
    height, width = images.shape[-2:]
    side: int = min(height, width) // 2
    if side < _MIN_SIDE:
        raise ShapeError("images of at least 4x4 pixels", f"{height}x{width} pixels", "pass --data.image-size N")
    return side
