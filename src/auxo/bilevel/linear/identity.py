"""The right-hand side itself, as a control."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auxo.bilevel.linear.interface import AbstractLinearSolver, LinearSolution, Operator, remaining
from auxo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Identity(AbstractLinearSolver):
    """Take ``A + damping`` for the identity: ``x = b``, without a product.

    What a linear solver is worth shows beside it. Close where ``A`` is small and the damping 1, as in ``(H / c + I) x =
    b`` with a ``c`` far above the curvature.

    Source: Luketina, Berglund, Greff and Raiko, Scalable Gradient-Based Tuning of Continuous Regularization
    Hyperparameters, ICML 2016 (https://arxiv.org/abs/1511.06727), for a Hessian.

    Args:
        measure_residual: spend one product on the residual; without it there is none.
        damping: added to the diagonal; changes the residual only.
        tolerance: relative residual at which the answer counts as converged; above 0 only where it is measured.

    Example:
        >>> Identity().solve(Operator(lambda x: 2 * x), torch.tensor([3.0, 4.0])).solution.tolist()
        [3.0, 4.0]
    """

    measure_residual: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tolerance and not self.measure_residual:
            raise ConfigError("a tolerance of 0 without a residual", str(self.tolerance), "pass measure_residual=True")

    @torch.no_grad()
    def solve(self, matrix: Operator, right_hand_side: Tensor, *, initial: Tensor | None = None) -> LinearSolution:
        """See :meth:`AbstractLinearSolver.solve`; ``initial`` changes nothing."""
        del initial
        solution = right_hand_side.clone()
        residual = remaining(matrix, self.damping, solution, right_hand_side) if self.measure_residual else None
        return LinearSolution(solution, residual, int(self.measure_residual), 0)
