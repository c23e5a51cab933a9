"""Every random number comes from one seed through a stream with a name."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ORDERS_AT_ONCE = 32  # what is made of them has to fit in memory


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on ``seed`` and on every name.

    Streams with different names are independent, so adding one never shifts another.

    Args:
        seed: the run's seed; any integer.
        names: the path of the stream, such as ``"init", "backbone"`` or ``"epoch", 3``.

    Example:
        >>> derive_seed(0, "init") == derive_seed(0, "init")
        True
        >>> derive_seed(0, "init") == derive_seed(0, "augment")
        False
    """
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def named_generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator seeded by :func:`derive_seed`.

    Draws are made on the CPU and moved, so that every device sees the same numbers.
    """
    return torch.Generator().manual_seed(derive_seed(seed, *names))


def permute_within(
    strata: Int[Tensor, " n"], *, draws: int, generator: torch.Generator
) -> Iterator[Int[Tensor, "draws n"]]:
    """Yield random orders of images that keep each within its stratum, at most 32 in one tensor.

    Args:
        strata: number of every image's stratum, such as its class.
        draws: orders in all.
        generator: drawn from once for every order.

    Yields:
        Positions, int64: place ``i`` is taken by the image at position ``i`` of an order, which is of the same stratum.
    """
    order = strata.argsort(stable=True)
    for first in range(0, draws, _ORDERS_AT_ONCE):
        count = min(_ORDERS_AT_ONCE, draws - first)
        shuffled = torch.stack([torch.randperm(len(strata), generator=generator) for _ in range(count)])
        orders = torch.empty_like(shuffled)
        orders[:, order] = shuffled.gather(1, strata[shuffled].argsort(dim=1, stable=True))
        yield orders


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Run the block with torch's global generators seeded, then put them back as they were.

    For code that draws from the global generator and takes no other: layer initialisers, kornia, dropout.

    Args:
        seed: a 63-bit non-negative integer, as :func:`derive_seed` gives.
    """
    if torch.accelerator.is_available():
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            yield
        return
    # Without an accelerator there is one generator, and torch.manual_seed would spend a millisecond on the others.
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


@dataclass(frozen=True)
class Draws:
    """Per-image random numbers that do not depend on how a batch is shared among processes.

    Numbers are drawn for the joined batch and each process keeps those of its own images.

    Args:
        generator: a CPU generator; every call advances it by the joined batch.
        first: position of this process's first image in the joined batch.
        total: images in the joined batch; ``None`` means this process holds all.

    Example:
        >>> whole = Draws(named_generator(0, "x")).integers(4, 6)
        >>> half = Draws(named_generator(0, "x"), first=3, total=6).integers(4, 3)
        >>> bool((whole[3:] == half).all())
        True
    """

    generator: torch.Generator
    first: int = 0
    total: int | None = None

    def integers(self, high: int, count: int) -> Int[Tensor, " count"]:
        """Draw ``count`` integers uniformly from ``0..high-1``, one per image of this process; int64 on the CPU."""
        joined = torch.randint(high, (self.total or count,), generator=self.generator)
        return joined[self.first : self.first + count]

    def uniform(self, count: int, shape: tuple[int, ...] = ()) -> Float[Tensor, "count ..."]:
        """Draw numbers uniformly from [0, 1), ``shape`` of them per image of this process; float64 on the CPU.

        For integers whose range differs from image to image: ``(uniform * range).long()``.
        """
        joined = torch.rand((self.total or count, *shape), generator=self.generator, dtype=torch.float64)
        return joined[self.first : self.first + count]

    def partners(self, count: int) -> Int[Tensor, " count"]:
        """Draw another image of the joined batch for each image of this process; int64 positions on the CPU.

        Over the joined batch each image is drawn once and none is its own: all of them lie on one random cycle.

        Args:
            count: images of this process; the joined batch has two or more.
        """
        order = torch.randperm(self.total or count, generator=self.generator)
        joined = torch.empty_like(order)
        joined[order] = order.roll(-1)
        return joined[self.first : self.first + count]
