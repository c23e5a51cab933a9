"""One quadrant of every image, changed by one task or several, through a table of positions."""

from abc import abstractmethod
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import OptionError
from auxo.interfaces import AbstractImagePretext, PretextBatch, PretextConfig
from auxo.losses import cross_entropy_losses
from auxo.options import find_member
from auxo.pretexts._pixels import check_square, memory_format_of, move_pixels
from auxo.random import Draws
from auxo.registry.outside import short_name
from auxo.types import Images, Losses


class AbstractQuadrantPretext(AbstractImagePretext):
    """A pretext that moves the pixels of one quadrant or exchanges its channels; several can share one quadrant.

    A subclass is a frozen dataclass, since tables of positions are kept under it. Unless it says otherwise, the answer
    is what happened to the quadrant and does not name the quadrant.
    """

    @property
    @abstractmethod
    def num_codes(self) -> int:
        """Number of things that can happen to a quadrant; code 0 leaves it as it is."""

    @property
    def num_outputs(self) -> int:
        """Width of the head that answers this task."""
        return self.num_codes

    @abstractmethod
    def transform(self, quadrant: Tensor, code: int) -> Tensor:
        """Return a quadrant of shape ``(channels, side, side)`` with its channels exchanged, or all moved alike."""

    def targets(self, quadrants: Tensor, codes: Tensor) -> Tensor:
        """Return the answers, int64 of shape ``(n,)``, for quadrants 0..3 and codes of shape ``(n,)``."""
        del quadrants  # for answers that name the quadrant
        return codes

    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make one input of every image; draws a quadrant, then what happens to it."""
        made = make_quadrants(images, (self,), draws)
        return made._replace(targets=made.targets[:, 0])

    def make_all(self, images: Images) -> PretextBatch:
        """Make every image with each of its four quadrants in every way, in blocks of the batch, quadrants slowest."""
        made = make_all_quadrants(images, (self,))
        return made._replace(targets=made.targets[:, 0])

    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return the cross-entropy of every image in nats."""
        return cross_entropy_losses(outputs, targets)


@lru_cache(maxsize=16)
def find_quadrant_pretexts(names: tuple[str, ...], *, option: str) -> tuple[AbstractQuadrantPretext, ...]:
    """Return pretexts that can share a quadrant, in the order of their names, each with its own defaults.

    Args:
        names: of auxo's pretexts, or ``file.py:Name``.
        option: that gives them, for messages.

    Raises:
        ConfigError: there is no such pretext.
        OptionError: one of them changes more than a quadrant, or two have one name.
    """
    parts: dict[str, AbstractQuadrantPretext] = {}
    for name in names:
        kind = find_member(PretextConfig, name)
        if not issubclass(kind, AbstractQuadrantPretext):
            fix = "choose flip, lorot, channel_shuffle or one of your own on AbstractQuadrantPretext"
            raise OptionError(option, "of pretexts that change one quadrant and leave the rest", short_name(name), fix)
        part = kind()
        if part.label in parts:
            raise OptionError(option, "of different pretexts", f"{part.label} twice", "name each pretext once")
        parts[part.label] = part
    return tuple(parts.values())


class _Tables(NamedTuple):
    """Positions ``row * side + column`` of the numbers of a quadrant, and their channels.

    Args:
        sources: shape ``(combinations, 1, pixels)``; where each pixel of the top left quadrant comes from.
        channels: shape ``(combinations, channels)``; from which channel.
        places: shape ``(1, 1, pixels)``; where each pixel of the top left quadrant goes.
        offsets: shape ``(4, 1, 1)``; what to add for the four quadrants.
    """

    sources: Tensor
    channels: Tensor
    places: Tensor
    offsets: Tensor


# A transformation only moves numbers, so each is applied once, to a quadrant of positions, and then looked up.
@lru_cache(maxsize=16)
def _make_tables(tasks: tuple[AbstractQuadrantPretext, ...], channels: int, side: int, device: torch.device) -> _Tables:
    """Return the positions for every combination of codes; the last task's code runs fastest."""
    half = side // 2
    with torch.inference_mode(mode=False):  # the tables outlive the block they are first needed in
        positions = torch.arange(channels * side * side).view(channels, side, side)
        moved = []
        for codes in product(*(range(task.num_codes) for task in tasks)):
            quadrant = positions[:, :half, :half]
            for task, code in zip(tasks, codes, strict=True):
                quadrant = task.transform(quadrant, code)
            moved.append(quadrant.flatten(1))
        numbers = torch.stack(moved)
        tables = _Tables(
            sources=numbers[:, :1] % (side * side),
            channels=numbers[:, :, 0] // (side * side),
            places=positions[:1, :half, :half].flatten(1)[None],
            offsets=positions[0, ::half, ::half].reshape(4, 1, 1),
        )
        return _Tables(*(table.to(device) for table in tables))


def change_quadrants(
    images: Images,
    tasks: tuple[AbstractQuadrantPretext, ...],
    quadrants: Int[Tensor, " batch"],
    codes: tuple[Int[Tensor, " batch"], ...],
) -> Images:
    """Return images with one quadrant each changed by all tasks in turn, without a loop over images.

    Args:
        images: shape ``(batch, channels, side, side)``; the side even.
        tasks: applied in this order.
        quadrants: int64 in 0..3: top left, top right, bottom left, bottom right.
        codes: for each task int64 in ``0..num_codes-1``.

    Returns:
        Shape, dtype and memory format of ``images``; attached to the graph.

    Raises:
        ShapeError: the images are not square, or the side is odd.
    """
    check_square(images, purpose="quadrants", even=True)
    tables = _make_tables(tasks, images.shape[1], images.shape[2], images.device)
    combination = torch.zeros_like(quadrants)
    for task, code in zip(tasks, codes, strict=True):
        combination = combination * task.num_codes + code
    offsets = tables.offsets[quadrants]
    sources, places = tables.sources[combination] + offsets, tables.places + offsets
    return move_pixels(images, sources, places, tables.channels[combination])


def make_quadrants(images: Images, tasks: tuple[AbstractQuadrantPretext, ...], draws: Draws) -> PretextBatch:
    """Make one input of every image; draws a quadrant, then a code for each task, all uniform and independent.

    Returns:
        Targets of shape ``(batch, tasks)``.
    """
    count, device = len(images), images.device
    quadrants = draws.integers(4, count).to(device)
    codes = tuple(draws.integers(task.num_codes, count).to(device) for task in tasks)
    return _make_batch(images, tasks, quadrants, codes, torch.arange(count, device=device))


def make_all_quadrants(images: Images, tasks: tuple[AbstractQuadrantPretext, ...]) -> PretextBatch:
    """Make every quadrant and every combination of codes of every image.

    In blocks of the size of the batch: quadrants slowest, the last task's codes fastest.

    Returns:
        Targets of shape ``(n, tasks)``.
    """
    count, device = len(images), images.device
    kinds = torch.cartesian_prod(*(torch.arange(size) for size in (4, *(task.num_codes for task in tasks))))
    quadrants, *codes = (kind.to(device).repeat_interleave(count) for kind in kinds.unbind(1))
    repeated = images.repeat(len(kinds), 1, 1, 1).contiguous(memory_format=memory_format_of(images))
    return _make_batch(repeated, tasks, quadrants, tuple(codes), torch.arange(count, device=device).repeat(len(kinds)))


def _make_batch(
    images: Tensor,
    tasks: tuple[AbstractQuadrantPretext, ...],
    quadrants: Tensor,
    codes: tuple[Tensor, ...],
    sources: Tensor,
) -> PretextBatch:
    """Return changed images with the answers of every task side by side."""
    targets = [task.targets(quadrants, code) for task, code in zip(tasks, codes, strict=True)]
    return PretextBatch(change_quadrants(images, tasks, quadrants, codes), torch.stack(targets, 1), sources)
