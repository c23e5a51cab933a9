"""The truncated Neumann series."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.linear.interface import (
    AbstractLinearSolver,
    Breakdown,
    LinearSolution,
    Operator,
    Product,
    relative_norm,
    remaining,
    require_at_least,
)
from auxo.errors import ConfigError
from auxo.random import named_generator

_MARGIN = 1.1  # a power iteration approaches the largest eigenvalue from below


@dataclass(frozen=True, kw_only=True)
class Neumann(AbstractLinearSolver):
    r"""Solve by the first terms of a geometric series.

    .. math:: x_t = s \sum_{i=0}^{t-1} (I - s A)^i b, \qquad b - A x_t = (I - s A)^t b .

    The leading factor ``s`` belongs to the sum: without it the answer has the wrong length. Equal to ``t`` gradient
    steps of rate ``s`` on the quadratic, and to unrolling ``t`` steps at a fixed point. The error falls by
    ``max |1 - s lambda|`` a term, so it needs ``0 < s < 2 / lambda_max`` and all eigenvalues positive. A series
    that grows is a breakdown, unless it may: a few terms are wanted for what so many gradient steps make, not as the
    solution of a system that an indefinite matrix does not have.

    Source: Lorraine, Vicol and Duvenaud, Optimizing Millions of Hyperparameters by Implicit Differentiation, AISTATS
    2020, Algorithm 3.

    Args:
        terms: ``t``; each but the first takes one product.
        scale: ``s``; ``"auto"`` takes ``1 / (1.1 lambda_max)`` with the largest eigenvalue from a power iteration.
        power_iterations: of ``"auto"``; each takes one product.
        damping: added to the diagonal.
        tolerance: relative residual at which the answer counts as converged.
        measure_residual: spend one product on the residual of the answer; without it that of one term fewer is told.
        may_grow: take the terms as they are, whatever the matrix.

    Example:
        >>> answer = Neumann(terms=50, scale=0.4).solve(Operator(lambda x: 2 * x), torch.tensor([4.0]))
        >>> answer.solution.round(decimals=3).tolist()
        [2.0]
    """

    terms: int = 10
    scale: float | Literal["auto"] = "auto"
    power_iterations: int = 5
    measure_residual: bool = True
    may_grow: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("terms", self.terms, 1)
        require_at_least("power_iterations", self.power_iterations, 1)
        if self.scale != "auto" and not (isinstance(self.scale, (int, float)) and self.scale > 0):
            raise ConfigError("scale > 0 or 'auto'", repr(self.scale), "use 'auto', or less than 2 / lambda_max")

    @torch.no_grad()
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """See :meth:`AbstractLinearSolver.solve`."""

        def damped(vector: Tensor) -> Tensor:
            image = matrix(vector)
            return torch.add(image, vector, alpha=self.damping) if self.damping else image

        count = self.terms - 1
        scale: Tensor | float = self.scale if self.scale != "auto" else 0.0
        if self.scale == "auto":
            scale = 1.0 / (_MARGIN * largest_eigenvalue(damped, right_hand_side, iterations=self.power_iterations))
            count += self.power_iterations
        rest = right_hand_side.clone()
        if initial is not None:
            rest = rest - damped(initial)
            count += 1
        total = right_hand_side.square().sum()
        start = rest.square().sum()
        series = rest.clone()
        direction, curvature = rest, torch.ones_like(total)
        step = -torch.as_tensor(scale, dtype=rest.dtype, device=rest.device)
        for term in range(1, self.terms):
            image = damped(rest)
            if term == self.terms - 1:
                direction = rest.clone()
                curvature = (rest * image).sum() / rest.square().sum() - self.damping
            rest.addcmul_(step, image)
            series.add_(rest)
        solution = series.mul_(scale) if initial is None else series.mul_(scale).add_(initial)
        relative = relative_norm(rest.square().sum(), total)
        if self.measure_residual:
            relative, count = remaining(matrix, self.damping, solution, right_hand_side), count + 1
        if self.may_grow:
            return LinearSolution(solution, relative, count, self.terms)
        occurred = ~(rest.square().sum() <= start)
        fix = "use scale='auto' or a smaller one if the curvature is positive, more damping if it is negative"
        return LinearSolution(solution, relative, count, self.terms, Breakdown(occurred, direction, curvature, fix))


def largest_eigenvalue(product: Product, like: Tensor, *, iterations: int) -> Float[Tensor, ""]:
    """Estimate the largest magnitude of an eigenvalue of a symmetric matrix by a power iteration, from below.

    Starts from a fixed random vector, so equal matrices give equal estimates.

    Args:
        product: maps a tensor of the shape of ``like`` to the matrix times it.
        like: gives shape, dtype and device.
        iterations: products to take, at least 1.

    Returns:
        A positive scalar; the smallest positive number for a zero matrix.

    Example:
        >>> diagonal = torch.tensor([1.0, 3.0])
        >>> float(largest_eigenvalue(lambda x: diagonal * x, diagonal, iterations=20).round(decimals=3))
        3.0
    """
    generator = named_generator(0, "power iteration")
    vector = torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)
    value = torch.ones((), dtype=like.dtype, device=like.device)
    tiny = torch.finfo(like.dtype).tiny
    for _ in range(iterations):
        vector = product(vector / vector.norm().clamp(min=tiny))
        value = vector.norm()
    return value.clamp(min=tiny)
