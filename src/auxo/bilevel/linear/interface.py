"""The contract of solvers of linear systems that are known only through their products with vectors."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auxo.errors import ConfigError

ROUNDING = 8
"""Rounding units, relative to the size of the matrix, below which a curvature or a residual says nothing."""

Product: TypeAlias = Callable[[Tensor], Tensor]
"""Maps a vector to a matrix times it."""


@dataclass(frozen=True)
class Operator:
    """A symmetric matrix that is known through its products.

    Args:
        product: maps a tensor of the right-hand side's shape to the matrix times it.
        products: maps several of them, stacked in front, to the matrix times each at once; ``None`` where there is no
            quicker way than one after the other.
        sizes: numbers of entries of the tensors that a right-hand side is made of, in order, for the solvers that go
            tensor by tensor; ``None`` where it is one.
    """

    product: Product
    products: Product | None = None
    sizes: tuple[int, ...] | None = None

    def __call__(self, vector: Tensor) -> Tensor:
        """Return the matrix times one vector."""
        return self.product(vector)

    def together(self, vectors: Tensor) -> Tensor:
        """Return the matrix times each of several vectors, shape ``(count, *shape)``."""
        if self.products is None or len(vectors) == 1:
            return torch.stack([self.product(vector) for vector in vectors])
        return self.products(vectors)


class Breakdown(NamedTuple):
    """Where a linear solver met what it cannot handle.

    Args:
        occurred: whether it did.
        direction: the direction it was going in; shape of the right-hand side.
        curvature: ``d'Ad / d'd`` along that direction, without damping.
        fix: what the reader can do about it.
    """

    occurred: Bool[Tensor, ""]
    direction: Tensor
    curvature: Float[Tensor, ""]
    fix: str


class LinearSolution(NamedTuple):
    """The answer of an iterative solver and how good it is; everything detached and on the device.

    Args:
        solution: shape of the right-hand side.
        residual: scalar, ``||(A + damping) x - b|| / ||b||``; zero for ``b = 0``, ``None`` where none was measured.
        products: number of products with ``A``.
        iterations: how many the solver was allowed, or the rank it used.
        breakdown: where it met a matrix that it cannot solve with, if it looks for that.
    """

    solution: Tensor
    residual: Float[Tensor, ""] | None
    products: int
    iterations: int
    breakdown: Breakdown | None = None


@dataclass(frozen=True, kw_only=True)
class AbstractLinearSolver(ABC):
    """Solves ``(A + damping I) x = b`` for symmetric ``A``.

    Subclasses are frozen dataclasses that hold only options.

    Args:
        damping: added to the diagonal.
        tolerance: relative residual at which a solution counts as converged; 0 if the iterations are the demand.
    """

    damping: float = 0.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("damping", self.damping, 0)
        require_at_least("tolerance", self.tolerance, 0)

    @abstractmethod
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """Solve without building a graph.

        Args:
            matrix: ``A``.
            right_hand_side: ``b``; any shape, taken as one vector.
            initial: where to start, of the same shape; zero by default, and one product more otherwise.
        """


def remaining(matrix: Operator, damping: float, solution: Tensor, right_hand_side: Tensor) -> Float[Tensor, ""]:
    """Return the relative residual of a solution, measured by one product."""
    rest = right_hand_side - matrix(solution) - damping * solution
    return relative_norm(rest.square().sum(), right_hand_side.square().sum())


def inner_product(left: Tensor, right: Tensor) -> Float[Tensor, ""]:
    """Return the sum of products, summed pairwise: ``torch.dot`` loses two digits on long float32 vectors."""
    return (left * right).sum()


def relative_norm(square: Float[Tensor, ""], total: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Return ``sqrt(square / total)``, and zero where ``total`` is zero."""
    return torch.where(total > 0, (square / total).sqrt(), torch.zeros_like(total))


def require_at_least(name: str, value: float | int, low: int) -> None:
    """Raise :class:`auxo.errors.ConfigError` for an option below ``low``, or one that is no number."""
    if not value >= low:
        raise ConfigError(f"{name} >= {low}", str(value), "choose a larger one")
