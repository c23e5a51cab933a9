"""Conjugate gradients, for positive definite matrices."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auxo.bilevel.linear.interface import (
    AbstractLinearSolver,
    Breakdown,
    LinearSolution,
    Operator,
    Product,
    inner_product,
    relative_norm,
    require_at_least,
)


@dataclass(frozen=True, kw_only=True)
class ConjugateGradient(AbstractLinearSolver):
    """Solve with a symmetric positive definite matrix.

    In exact arithmetic the error falls at least as ``2 ((sqrt(k) - 1) / (sqrt(k) + 1)) ** i`` in the norm of the matrix
    with condition number ``k``, and is zero after as many iterations as the matrix has distinct eigenvalues. A
    direction of zero or negative curvature is a breakdown: the solution from before it is returned and the direction is
    reported. Every iteration takes one product; once the tolerance is reached, the remaining ones change nothing, so
    that no value has to leave the device.

    Source: Hestenes and Stiefel, Methods of Conjugate Gradients for Solving Linear Systems, 1952.

    Args:
        iterations: how many at the most.
        damping: added to the diagonal; what it does to a hypergradient is on the documentation's page.
        tolerance: relative residual at which the solution is left as it is; 0 goes on to the rounding of the dtype.
        preconditioner: maps a vector to (roughly) the inverse times it; symmetric positive definite.

    Example:
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> answer = ConjugateGradient(iterations=2).solve(Operator(lambda x: matrix @ x), torch.tensor([3.0, 4.0]))
        >>> torch.allclose(answer.solution, torch.ones(2))
        True
    """

    iterations: int = 10
    preconditioner: Product | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("iterations", self.iterations, 1)

    @torch.no_grad()
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """See :meth:`AbstractLinearSolver.solve`."""
        shape = right_hand_side.shape
        condition = self.preconditioner or _keep
        total = right_hand_side.square().sum()
        enough = max(self.tolerance, torch.finfo(right_hand_side.dtype).eps)  # below it there is only rounding
        count = self.iterations
        if initial is None:
            solution, residual = torch.zeros_like(right_hand_side).reshape(-1), right_hand_side.reshape(-1).clone()
        else:
            solution = initial.reshape(-1).clone()
            residual = (right_hand_side - matrix(initial) - self.damping * initial).reshape(-1)
            count += 1
        shaped = condition(residual.view(shape)).reshape(-1)
        direction = shaped.clone()
        norm = inner_product(residual, shaped)
        square = inner_product(residual, residual)
        occurred = torch.zeros_like(norm, dtype=torch.bool)
        curvature = torch.ones_like(norm)
        for _ in range(self.iterations):
            image = matrix(direction.view(shape)).reshape(-1)
            bend = inner_product(direction, image)
            length = inner_product(direction, direction)
            if self.damping:
                image = torch.add(image, direction, alpha=self.damping)
                bend = bend + self.damping * length
            is_wanted = (square > total * enough**2) & (norm > 0) & ~occurred
            is_bad = is_wanted & (bend <= 0)
            is_active = is_wanted & ~is_bad
            curvature = torch.where(is_wanted, bend / length - self.damping, curvature)
            occurred = occurred | is_bad
            step = torch.where(is_active, norm / bend, 0.0)
            # In place, and with the step as a tensor: one vector of memory and no value that leaves the device.
            solution.addcmul_(step, direction)
            residual.addcmul_(-step, image)
            shaped = condition(residual.view(shape)).reshape(-1)
            new_norm = inner_product(residual, shaped)
            direction.mul_(torch.where(is_active, new_norm / norm, 1.0)).addcmul_(is_active.to(step.dtype), shaped)
            norm = torch.where(is_active, new_norm, norm)
            square = norm if self.preconditioner is None else inner_product(residual, residual)
        fix = "add damping above the curvature's size, use MINRES, or curvature='gauss_newton'"
        breakdown = Breakdown(occurred, direction.view(shape), curvature, fix)
        return LinearSolution(solution.view(shape), relative_norm(square, total), count, self.iterations, breakdown)


def _keep(vector: Tensor) -> Tensor:
    """Return the vector: the preconditioner of plain conjugate gradients."""
    return vector
