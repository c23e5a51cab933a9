"""What the pretexts share: memory formats, pixels moved by position, squares cut out per image."""

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from auxo.errors import ShapeError


def memory_format_of(images: Tensor) -> torch.memory_format:
    """Return how the pixels are stored: channels last, also where the two are the same, or contiguous."""
    is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_channels_last else torch.contiguous_format


def check_square(images: Tensor, *, purpose: str, even: bool = False) -> None:
    """Refuse images whose sides differ, or are odd where quadrants are needed.

    Args:
        images: shape ``(batch, channels, height, width)``.
        purpose: what square images are needed for, as the error says it.
        even: refuse odd sides, too.

    Raises:
        ShapeError: the images are not square, or the side is odd.
    """
    height, width = images.shape[-2:]
    if height != width or (even and height % 2):
        kind = "square images with an even side" if even else "square images"
        raise ShapeError(f"{kind} for {purpose}", f"{height}x{width} pixels", "pass --data.image-size N")


def move_pixels(
    images: Tensor,
    sources: Int[Tensor, "batch 1 pixels"],
    places: Int[Tensor, "batch 1 pixels"],
    channels: Int[Tensor, "batch channels"] | None = None,
) -> Tensor:
    """Return images in which some places show pixels from elsewhere in the same image.

    Args:
        images: shape ``(batch, channels, height, width)``; any dtype.
        sources: int64 positions ``row * width + column`` in 0..height*width-1 of what is shown, shape
            ``(batch, 1, pixels)``; the same for all channels.
        places: where it is shown; no place twice in one image.
        channels: int64 channel from which each channel is taken; ``None`` means its own.

    Returns:
        Shape, dtype and memory format of ``images``; attached to the graph.
    """
    count, num_channels = images.shape[:2]
    planes = images.flatten(2)
    taken = planes.gather(2, sources.expand(-1, num_channels, -1))
    if channels is not None:
        rows = channels + num_channels * torch.arange(count, device=images.device)[:, None]
        taken = taken.flatten(0, 1).index_select(0, rows.flatten()).view_as(taken)
    moved = planes.scatter(2, places.expand(-1, num_channels, -1), taken).view(images.shape)
    return moved.contiguous(memory_format=memory_format_of(images))


def squares(
    images: Tensor, rows: Int[Tensor, " batch"], columns: Int[Tensor, " batch"], side: int
) -> Shaped[Tensor, "batch channels side side"]:
    """Return from every image the square whose upper left pixel is its own ``(row, column)``.

    Args:
        images: shape ``(batch, channels, height, width)``.
        rows: int64 in ``0..height-side``.
        columns: int64 in ``0..width-side``.
        side: pixels.

    Returns:
        Shape ``(batch, channels, side, side)``; contiguous, attached to the graph.
    """
    steps = torch.arange(side, device=images.device)
    down, right = rows[:, None] + steps, columns[:, None] + steps
    positions = (down[:, :, None] * images.shape[3] + right[:, None, :]).flatten(1)[:, None]
    taken = images.flatten(2).gather(2, positions.expand(-1, images.shape[1], -1))
    return taken.view(*images.shape[:2], side, side)


def is_inside(starts: Int[Tensor, " batch"], side: int, length: int) -> Tensor:
    """Return which of ``0..length-1`` lie in ``start..start+side-1``; bool of shape ``(batch, length)``."""
    offsets = torch.arange(length, device=starts.device) - starts[:, None]
    return (offsets >= 0) & (offsets < side)


def five_places(height: int, width: int, side: int) -> tuple[tuple[int, int], ...]:
    """Return the upper left pixels of a square in the four corners, in reading order, and in the middle.

    Example:
        >>> five_places(8, 8, 4)
        ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))
    """
    down, right = height - side, width - side
    return (0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)
