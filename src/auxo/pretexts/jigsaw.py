"""Tell in which of many orders the tiles of an image stand."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, permutations
from math import factorial
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import ConfigError, OptionError, ShapeError
from auxo.interfaces import AbstractImagePretext, PretextBatch
from auxo.losses import cross_entropy_losses
from auxo.options import Range
from auxo.pretexts._pixels import memory_format_of
from auxo.random import Draws
from auxo.types import Images, Losses

SOURCE = (
    "Noroozi, Favaro, Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles, ECCV 2016 (arXiv "
    "1603.09246): 3x3 tiles, a greedy set of distant permutations. Differs: the tiles go back into one image for an "
    "ordinary backbone, as in Carlucci et al., Domain Generalization by Solving Jigsaw Puzzles, CVPR 2019 (arXiv "
    "1903.06864), so without gaps and without a network of its own for each tile; the set starts from the order as it "
    "was instead of a random one, and puts the least distance before the sum of distances. 2x2 tiles are ours. "
    "The number of orders, 30, is that of Carlucci et al., not checked against the text."
)

_DEFAULT_ORDERS = {2: 24, 3: 30}
_MOST_ORDERS = 1000


@lru_cache(maxsize=16)
def distant_orders(num_tiles: int, count: int) -> Int[Tensor, "count num_tiles"]:
    """Return permutations far from each other in Hamming distance, the same ones every time.

    Greedy: the first is the identity; each next one has the largest least distance from those before it, among these
    the largest sum of distances, and among these it is the first in lexicographic order.

    Args:
        num_tiles: length of a permutation, 1..9; all factorially many are looked at.
        count: how many, at most ``num_tiles!``.

    Returns:
        int64, row ``k`` is the order of class ``k``; on the CPU. Do not write to it: it is kept.

    Raises:
        ConfigError: there are not that many permutations.

    Example:
        >>> distant_orders(4, 4).tolist()
        [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]
    """
    if not 1 <= num_tiles <= 9 or not 1 <= count <= factorial(num_tiles):
        got = f"{count} permutations of {num_tiles}"
        raise ConfigError("1 to 9 tiles, and no more permutations than there are", got, "ask for fewer")
    with torch.inference_mode(mode=False):  # kept beyond the block it is first needed in
        numbers = np.fromiter(chain.from_iterable(permutations(range(num_tiles))), dtype=np.int8)
        every = torch.from_numpy(numbers).view(-1, num_tiles)
        chosen = [0]
        least = torch.full((len(every),), num_tiles + 1, dtype=torch.int64)
        total = torch.zeros(len(every), dtype=torch.int64)
        while len(chosen) < count:
            distances = (every != every[chosen[-1]]).sum(1)
            least = torch.minimum(least, distances)
            total += distances
            # Ties go to the first: argmax alone promises no order among equals.
            score = least * (num_tiles * count + 1) + total
            chosen.append(int((score == score.max()).nonzero()[0]))
        return every[chosen].long()


@dataclass(frozen=True)
class Jigsaw(AbstractImagePretext):
    """Prediction of the order of the tiles: one class for each order of a fixed set, class 0 the image as it was.

    Where the side is no multiple of the grid, the rightmost columns and lowest rows that are left over stay in place.

    Example:
        >>> made = Jigsaw(grid=2, num_orders=2).make_all(torch.arange(4.0).view(1, 1, 2, 2))
        >>> made.inputs.flatten(1).tolist(), made.targets.tolist()
        ([[0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 3.0, 2.0]], [0, 1])
    """

    grid: Literal[2, 3] = 3
    """Tiles in a row and in a column."""
    num_orders: Annotated[int | None, Range(low=2, high=_MOST_ORDERS)] = None
    """Size of the set; without it all 24 orders of 2x2 tiles, and 30 of 3x3 as in Carlucci et al."""

    def __post_init__(self) -> None:
        super().__post_init__()
        most = factorial(self.grid**2)
        if self.num_outputs > most:
            rule = f"<= {most}, as many as there are of {self.grid}x{self.grid} tiles"
            raise OptionError("num_orders", rule, str(self.num_orders), "ask for fewer")

    @property
    def num_outputs(self) -> int:
        """Size of the set of orders."""
        return _DEFAULT_ORDERS[self.grid] if self.num_orders is None else self.num_orders

    @property
    def orders(self) -> Int[Tensor, "orders tiles"]:
        """The set: place ``p`` of an image of class ``k``, in reading order, shows tile ``orders[k, p]``."""
        return distant_orders(self.grid**2, self.num_outputs)

    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make one shuffled image of every image; draws its class, uniform over all orders."""
        count, device = len(images), images.device
        targets = draws.integers(self.num_outputs, count).to(device)
        return PretextBatch(self._shuffle_tiles(images, targets), targets, torch.arange(count, device=device))

    def make_all(self, images: Images) -> PretextBatch:
        """Make every order of every image, in blocks of the size of the batch, one for each class."""
        count, device = len(images), images.device
        targets = torch.arange(self.num_outputs, device=device).repeat_interleave(count)
        repeated = images.repeat(self.num_outputs, 1, 1, 1).contiguous(memory_format=memory_format_of(images))
        sources = torch.arange(count, device=device).repeat(self.num_outputs)
        return PretextBatch(self._shuffle_tiles(repeated, targets), targets, sources)

    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return the cross-entropy of every image in nats."""
        return cross_entropy_losses(outputs, targets)

    def _shuffle_tiles(self, images: Tensor, classes: Tensor) -> Tensor:
        """Return every image with its tiles in the order of its class."""
        height, width = images.shape[-2:]
        if min(height, width) < self.grid:
            got = f"{height}x{width} pixels"
            raise ShapeError(f"images of at least {self.grid}x{self.grid} pixels", got, "pass --data.image-size N")
        sources = _list_positions(self, height, width, images.device)[classes].expand(-1, images.shape[1], -1)
        shuffled = images.flatten(2).gather(2, sources).view(images.shape)
        return shuffled.contiguous(memory_format=memory_format_of(images))


@lru_cache(maxsize=16)
def _list_positions(jigsaw: Jigsaw, height: int, width: int, device: torch.device) -> Tensor:
    """Return for every class which pixel, ``row * width + column``, comes to each place: ``(orders, 1, pixels)``."""
    grid = jigsaw.grid
    rows, columns = height // grid, width // grid
    with torch.inference_mode(mode=False):  # kept beyond the block it is first needed in
        places = torch.arange(height * width).view(height, width)
        covered = places[: grid * rows, : grid * columns]
        tiles = covered.unflatten(0, (grid, rows)).unflatten(2, (grid, columns)).transpose(1, 2).flatten(0, 1)
        shuffled = tiles[jigsaw.orders].unflatten(1, (grid, grid)).transpose(2, 3).reshape(-1, *covered.shape)
        positions = places.repeat(len(shuffled), 1, 1)
        positions[:, : grid * rows, : grid * columns] = shuffled
        return positions.flatten(1)[:, None].to(device)
