"""The minimal residual method, for symmetric matrices that need not be positive definite."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auxo.bilevel.linear.interface import (
    ROUNDING,
    AbstractLinearSolver,
    Breakdown,
    LinearSolution,
    Operator,
    relative_norm,
    require_at_least,
)


@dataclass(frozen=True, kw_only=True)
class MINRES(AbstractLinearSolver):
    """Solve with a symmetric matrix, definite or not.

    Every iteration takes one product and gives the smallest residual within the Krylov space so far, so the residual
    never rises; one product more measures that of the answer. With an indefinite matrix whose eigenvalues lie in two
    intervals of equal length around zero, two iterations do the work of one of conjugate gradients on the matrix
    squared. A singular system that has solutions is solved by the shortest of them. For one that has none, the
    iterations end at a least-squares solution, and the residual, in whose direction the matrix does nothing, is
    reported as a breakdown. An inner Hessian with negative curvature means that the inner problem is not at a minimum;
    the linear system is still solved, what it says about the minimum is another matter.

    Source: Paige and Saunders, Solution of Sparse Indefinite Systems of Linear Equations, SIAM J. Numer. Anal. 1975.

    Args:
        iterations: how many at the most.
        damping: added to the diagonal.
        tolerance: relative residual at which the solution is left as it is; 0 goes on to the rounding of the dtype.

    Example:
        >>> matrix = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> MINRES(iterations=2).solve(Operator(lambda x: matrix @ x), torch.tensor([3.0, 4.0])).solution.tolist()
        [4.0, 3.0]
    """

    iterations: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least("iterations", self.iterations, 1)

    @torch.no_grad()
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """See :meth:`AbstractLinearSolver.solve`."""
        total = right_hand_side.square().sum()
        unit = torch.finfo(right_hand_side.dtype).eps
        enough = max(self.tolerance, unit)  # below it there is only rounding
        solution = torch.zeros_like(right_hand_side) if initial is None else initial.clone()
        start = right_hand_side if initial is None else right_hand_side - matrix(initial) - self.damping * initial
        beta = start.norm()
        rest = beta.clone()  # the residual's norm, with the sign of the rotations
        is_active = beta > 0
        vector = start / torch.where(is_active, beta, 1.0)
        old_vector = torch.zeros_like(vector)
        move, old_move = torch.zeros_like(vector), torch.zeros_like(vector)
        cosine, sine = -torch.ones_like(beta), torch.zeros_like(beta)
        epsilon, delta = torch.zeros_like(beta), torch.zeros_like(beta)
        beta, size = torch.zeros_like(beta), torch.zeros_like(beta)
        occurred = torch.zeros_like(is_active)
        curvature = torch.ones_like(beta)
        for _ in range(self.iterations):
            image = matrix(vector) + self.damping * vector - beta * old_vector
            alpha = (vector * image).sum()
            image = image - alpha * vector
            old_beta, beta = beta, image.norm()
            size = torch.maximum(size, (old_beta.square() + alpha.square() + beta.square()).sqrt())
            # Givens rotations of the tridiagonal matrix, the last one applied and a new one made.
            old_epsilon = epsilon
            upper = cosine * delta + sine * alpha
            lower = sine * delta - cosine * alpha
            epsilon, delta = sine * beta, -cosine * beta
            gamma = torch.hypot(lower, beta)
            is_wanted = is_active & (rest.square() > total * enough**2)
            # The residual is orthogonal to all that the matrix can reach, but for rounding: there is no better answer.
            reached = torch.hypot(lower, delta)  # how far the matrix stretches the residual
            is_stuck = is_wanted & (reached <= unit**0.5 * size)
            is_lost = is_stuck & (rest.abs() > ROUNDING * unit * (size * solution.norm() + total.sqrt()))
            curvature = torch.where(is_lost, reached - self.damping, curvature)
            occurred, is_active = occurred | is_lost, is_wanted & ~is_stuck
            safe = torch.where(gamma > 0, gamma, 1.0)
            cosine, sine = lower / safe, beta / safe
            new_move = (vector - old_epsilon * old_move - upper * move) / safe
            solution = torch.where(is_active, solution + (cosine * rest) * new_move, solution)
            rest = torch.where(is_active, sine * rest, rest)
            old_move, move = move, new_move
            old_vector, vector = vector, image / torch.where(beta > 0, beta, 1.0)
        left = right_hand_side - matrix(solution) - self.damping * solution
        told = relative_norm(left.square().sum(), total)
        count = self.iterations + 1 + (initial is not None)
        fix = "the system has no solution: add damping, or give the inner loss more samples or a weight decay"
        return LinearSolution(solution, told, count, self.iterations, Breakdown(occurred, left, curvature, fix))
