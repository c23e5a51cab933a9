"""Differentiate the value function of the inner problem instead of its solution."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from auxo.bilevel.inner_optimizers import SGD, AbstractInnerOptimizer
from auxo.bilevel.instance import Instance, leaves, scaled_difference
from auxo.bilevel.linear.interface import relative_norm, require_at_least
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.bilevel.trajectory import Point, Trajectory
from auxo.bilevel.vectors import joint_norm, shift
from auxo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Penalty(AbstractSolver):
    r"""Compare the inner problem's solution with one that the outer loss has pulled a little to its side.

    With the inner solution ``w*`` and the pulled one ``w_p = argmin F / weight + G``,

    .. math:: \frac{dF}{dh} \approx \partial_h F(w_p, h)
       + \text{weight} \left( \partial_h G(w_p, h) - \partial_h G(w^*, h) \right) .

    Only first derivatives. With both minima exact the error falls as ``1 / weight``; with ``steps`` too few it is
    ``weight`` times what they leave, so more weight asks for more steps. The inner parameters are moved by ``steps``
    steps for ``w*`` and as many again for ``w_p``.

    Source: the penalty of Kwon et al., A Fully First-Order Method for Stochastic Bilevel Optimization, ICML 2023
    (https://arxiv.org/abs/2301.10945), with their multiplier as ``weight``.

    Cost: ``2 steps + 2`` inner gradients, ``steps + 1`` outer ones. Memory: that of one gradient.

    Args:
        weight: of the inner loss against the outer one, above 0.
        steps: inner steps for each minimum; step ``t`` uses inner batch ``t`` modulo their number.
        optimizer: makes them.
        tolerance: norm of the pulled problem's gradient, relative to that of the outer loss over ``weight``, within
            which the answer counts as converged; 0 if the steps are the demand.
    """

    derivatives: ClassVar[Literal["first", "forward", "second"]] = "first"

    weight: float = 100.0
    steps: int = 10
    optimizer: AbstractInnerOptimizer = field(default_factory=SGD)
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        require_at_least("steps", self.steps, 1)
        require_at_least("tolerance", self.tolerance, 0)
        if not self.weight > 0:
            raise ConfigError("weight > 0", str(self.weight), "choose one, such as 100")

    def solve(self, instance: Instance) -> SolverAnswer:
        """See :meth:`AbstractSolver.solve`."""
        trajectory = Trajectory(instance, self.optimizer)
        solution = trajectory.begin(instance.params)
        for step in range(self.steps):
            solution = trajectory.advance(solution, step)
        pulled = Point(solution.params, self.optimizer.initial_state(solution.params), solution.buffers)
        for step in range(self.steps):
            slopes = instance.outer_gradient(pulled.params, pulled.buffers).in_params
            extra = {name: slope / self.weight for name, slope in slopes.items()}
            pulled = trajectory.advance(pulled, step, extra=extra)
        outer = instance.outer_gradient(pulled.params, pulled.buffers)
        there, gradients = instance.at(solution.buffers).inner_gradient_in_hyper(leaves(pulled.params))
        here, _ = instance.at(solution.buffers).inner_gradient_in_hyper(leaves(solution.params))
        indirect = scaled_difference(self.weight, there, here)
        rest = joint_norm(shift(gradients, 1 / self.weight, outer.in_params).values())
        info = SolverInfo(
            is_finite=torch.isfinite(outer.loss),
            residual=relative_norm(rest.square(), (joint_norm(outer.in_params.values()) / self.weight).square()),
            tolerance=self.tolerance,
            iterations=2 * self.steps,
            inner_gradients=2 * self.steps + 2,
            inner_slope=solution.slope,
        )
        end = solution.params, solution.buffers
        return SolverAnswer(outer.in_hyper, indirect, outer.loss, *end, info, solution.state)
