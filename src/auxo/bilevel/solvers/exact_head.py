"""Solve the inner problem and its derivative exactly where it is a linear head."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from auxo.bilevel.instance import Instance
from auxo.bilevel.least_squares_head import LeastSquaresHeadProblem
from auxo.bilevel.linear.interface import require_at_least
from auxo.bilevel.losses import LinearHeadLoss
from auxo.bilevel.softmax_head import SoftmaxHeadProblem
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.errors import HypergradientError


@dataclass(frozen=True, kw_only=True)
class ExactHead(AbstractSolver):
    """Find the best linear head for the features and differentiate it, without a graph of second derivatives.

    For an inner loss of class :class:`auxo.bilevel.LinearHeadLoss`. Least squares is solved by one factorisation,
    cross-entropy by Newton's method from zero; the result's ``params`` are the optimum.

    Cost: one forward and one backward pass through the features; matrix products of the size of the head.

    Args:
        newton_steps: for cross-entropy; quadratic convergence once near.
        iterations: of conjugate gradients in each Newton step and for the derivative.
        tolerance: norm of the inner gradient within which the answer counts as converged; 0 if the steps are the
            demand.
    """

    derivatives: ClassVar[Literal["first", "forward", "second"]] = "first"

    newton_steps: int = 10
    iterations: int = 50
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("newton_steps", self.newton_steps, 1)
        require_at_least("iterations", self.iterations, 1)
        require_at_least("tolerance", self.tolerance, 0)

    def solve(self, instance: Instance) -> SolverAnswer:
        """See :meth:`AbstractSolver.solve`."""
        loss = instance.problem.inner_loss
        if not isinstance(loss, LinearHeadLoss):
            raise HypergradientError(
                "an inner loss of class LinearHeadLoss for ExactHead", type(loss).__name__, "use Implicit"
            )
        instance.single_step(type(self).__name__)
        batch = instance.inner[0]
        features, buffers = loss.features(instance.hyper, instance.buffers, batch)
        decay = loss.decay(instance.hyper)
        if not decay > 0:  # without it the best head need not exist, or is not the only one
            fix = "give one above 0, for instance the exponential of a hyper-parameter"
            raise HypergradientError(
                "a weight decay above 0 for ExactHead", f"{float(torch.as_tensor(decay).detach()):g}", fix
            )
        start = instance.params["weight"]
        if loss.criterion == "least_squares":
            ridge = LeastSquaresHeadProblem(features, loss.targets(batch), decay, average=instance.mean)
            solution = ridge.solve()
        else:
            softmax = SoftmaxHeadProblem(
                features, loss.targets(batch), torch.zeros_like(start), decay, average=instance.mean
            )
            solution = softmax.solve(newton_steps=self.newton_steps, iterations=self.iterations)
        params = {"weight": solution.weight}
        outer = instance.outer_gradient(params, instance.buffers)
        slope = outer.in_params["weight"]
        if loss.criterion == "least_squares":
            response = ridge.response(solution, slope)
        else:
            response = softmax.response(solution, slope, iterations=self.iterations)
        hyper = instance.hyper
        through: tuple[Tensor | None, ...] = (None,) * len(hyper)
        if response.requires_grad:
            through = torch.autograd.grad(response, [*hyper.values()], allow_unused=True)
        info = SolverInfo(
            is_finite=torch.isfinite(outer.loss),
            residual=solution.residual,
            tolerance=self.tolerance,
            inner_gradients=1,
            inner_slope=solution.residual,
            iterations=1 if loss.criterion == "least_squares" else self.newton_steps,
        )
        indirect = instance.average_present(dict(zip(hyper, through, strict=True)))
        return SolverAnswer(outer.in_hyper, indirect, outer.loss, params, buffers, info, {})
