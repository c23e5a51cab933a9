"""Conjugate gradients, for positive definite matrices."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auxo.bilevel.linear.interface import (
    ROUNDING,
    AbstractLinearSolver,
    Breakdown,
    LinearSolution,
    Operator,
    Product,
    inner_product,
    relative_norm,
    remaining,
    require_at_least,
)


@dataclass(frozen=True, kw_only=True)
class ConjugateGradient(AbstractLinearSolver):
    """Solve with a symmetric positive definite matrix.

    In exact arithmetic the error falls at least as ``2 ((sqrt(k) - 1) / (sqrt(k) + 1)) ** i`` in the norm of the matrix
    with condition number ``k``, and is zero after as many iterations as the matrix has distinct eigenvalues. A
    direction whose curvature is negative, or no more than rounding beside the largest one met, is a breakdown: the
    solution from before it is returned and the direction is reported. A singular system that has solutions is solved by
    the shortest of them; one that has none ends in such a direction. Every iteration takes one product; once the
    tolerance is reached, the remaining ones change nothing, so that no value has to leave the device.

    Source: Hestenes and Stiefel, Methods of Conjugate Gradients for Solving Linear Systems, 1952.

    Args:
        iterations: how many at the most.
        damping: added to the diagonal; what it does to a hypergradient is on the documentation's page.
        tolerance: relative residual at which the solution is left as it is; 0 goes on to the rounding of the dtype.
        preconditioner: maps a vector to (roughly) the inverse times it; symmetric positive definite.
        measure_residual: spend one product on the residual of the answer. Without it that of the recursion is told,
            which is the same but for rounding, and rounding grows with the condition number.

    Example:
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
        >>> answer = ConjugateGradient(iterations=2).solve(Operator(lambda x: matrix @ x), torch.tensor([3.0, 4.0]))
        >>> torch.allclose(answer.solution, torch.ones(2))
        True
    """

    iterations: int = 10
    preconditioner: Product | None = None
    measure_residual: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("iterations", self.iterations, 1)

    @torch.no_grad()
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """See :meth:`AbstractLinearSolver.solve`."""
        shape = right_hand_side.shape
        condition = self.preconditioner or _keep_vector
        total = right_hand_side.square().sum()
        unit = torch.finfo(right_hand_side.dtype).eps
        enough = max(self.tolerance, unit)  # below it there is only rounding
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
        occurred = is_done = torch.zeros_like(norm, dtype=torch.bool)
        curvature, size = torch.ones_like(norm), torch.zeros_like(norm)
        for _ in range(self.iterations):
            image = matrix(direction.view(shape)).reshape(-1)
            bend = inner_product(direction, image)
            length = inner_product(direction, direction)
            if self.damping:
                image = torch.add(image, direction, alpha=self.damping)
                bend = bend + self.damping * length
            size = torch.maximum(size, (image.square().sum() / length).sqrt())
            is_wanted = (square > total * enough**2) & (norm > 0) & ~is_done
            # A residual of mere rounding points anywhere, also to where there is no curvature: that is no breakdown.
            is_rounding = square <= (ROUNDING * unit * (size * solution.norm() + total.sqrt())) ** 2
            is_bad = is_wanted & (bend <= ROUNDING * unit * size * length)
            is_active = is_wanted & ~is_bad
            curvature = torch.where(is_wanted, bend / length - self.damping, curvature)
            occurred = occurred | (is_bad & ~is_rounding)
            step = torch.where(is_active, norm / bend, 0.0)
            # In place, and with the step as a tensor: one vector of memory and no value that leaves the device.
            solution.addcmul_(step, direction)
            residual.addcmul_(-step, image)
            shaped = condition(residual.view(shape)).reshape(-1)
            new_norm = inner_product(residual, shaped)
            direction.mul_(torch.where(is_active, new_norm / norm, 1.0)).addcmul_(is_active.to(step.dtype), shaped)
            norm = torch.where(is_active, new_norm, norm)
            old_square, square = square, norm if self.preconditioner is None else inner_product(residual, residual)
            is_done = is_done | is_bad | (is_rounding & (square > 16 * old_square))  # from there on it would only grow
        fix = "add damping above the curvature's size, use MINRES, or curvature='gauss_newton'"
        breakdown = Breakdown(occurred, direction.view(shape), curvature, fix)
        told, answer = relative_norm(square, total), solution.view(shape)
        if self.measure_residual:
            told, count = remaining(matrix, self.damping, answer, right_hand_side), count + 1
        return LinearSolution(answer, told, count, self.iterations, breakdown)


def _keep_vector(vector: Tensor) -> Tensor:
    """Return the vector: the preconditioner of plain conjugate gradients."""
    return vector
