"""Solvers of linear systems that are known only through their products with vectors."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["LinearSolution", "conjugate_gradient"]


class LinearSolution(NamedTuple):
    """The answer of an iterative solver and how good it is.

    Args:
        solution: shape of the right-hand side; detached.
        residual: scalar, ``||A x - b|| / ||b||``; zero for ``b = 0``.
        products: number of products with ``A``.
    """

    solution: Tensor
    residual: Float[Tensor, ""]
    products: int


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], right_hand_side: Tensor, *, iterations: int, tolerance: float = 0.0
) -> LinearSolution:
    """Solve ``A x = b`` for symmetric positive definite ``A`` from ``x = 0``.

    In exact arithmetic the error falls at least as ``2 ((sqrt(k) - 1) / (sqrt(k) + 1)) ** i`` in the norm of ``A`` with
    condition number ``k``, and is zero after as many iterations as ``A`` has distinct eigenvalues.
    Source: Hestenes and Stiefel, Methods of Conjugate Gradients for Solving Linear Systems, 1952.

    Args:
        product: maps a tensor of the shape of ``b`` to ``A`` times it.
        right_hand_side: ``b``; any shape, taken as one vector.
        iterations: how many at the most; each takes one product.
        tolerance: relative residual at which the solution is left as it is. The remaining iterations then change
            nothing; no value leaves the device, so a GPU is never waited for.

    Returns:
        The solution with the residual that the recurrence gives.

    Example:
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> answer = conjugate_gradient(lambda x: matrix @ x, torch.tensor([3.0, 4.0]), iterations=2)
        >>> torch.allclose(answer.solution, torch.ones(2))
        True
    """
    with torch.no_grad():
        solution = torch.zeros_like(right_hand_side)
        residual = right_hand_side.clone()
        direction = residual.clone()
        norm = residual.square().sum()
        stop = norm * tolerance**2
        for _ in range(iterations):
            image = product(direction)
            curvature = (direction * image).sum()
            is_active = (norm > stop) & (curvature > 0)
            step = torch.where(is_active, norm / curvature, 0.0)
            solution = solution + step * direction
            residual = residual - step * image
            new_norm = residual.square().sum()
            direction = torch.where(is_active, residual + (new_norm / norm) * direction, direction)
            norm = torch.where(is_active, new_norm, norm)
        total = right_hand_side.square().sum()
        relative = torch.where(total > 0, (norm / total).sqrt(), torch.zeros_like(total))
    return LinearSolution(solution, relative, iterations)
