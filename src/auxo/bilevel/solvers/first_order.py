"""Drop every second derivative."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from auxo.bilevel.inner_optimizers import SGD, AbstractInnerOptimizer
from auxo.bilevel.instance import Instance
from auxo.bilevel.linear.interface import require_at_least
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.bilevel.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class FirstOrder(AbstractSolver):
    r"""Make inner steps and take them for a shift that does not depend on anything.

    Kept: the hyper-parameters' own place in the outer loss, and their place in the start of the inner parameters
    (``initial``), as if each step were ``w + constant``. Dropped: every way through an inner gradient, that is all
    second derivatives. So it learns an initialisation (first-order MAML), a shared feature extractor or a prompt that
    the outer loss sees; weights of samples, penalties or generated labels, which act on the outer loss only by changing
    inner gradients, get **no gradient at all** from it, and an error says so. For those, :class:`FiniteDifference`,
    :class:`ForwardMode` and :class:`Penalty` avoid a second backward pass and keep the term.

    Source: Finn, Abbeel and Levine, Model-Agnostic Meta-Learning, ICML 2017, section 5.2
    (https://arxiv.org/abs/1703.03400).

    Cost: ``steps`` inner gradients. Memory: that of one gradient.

    Args:
        steps: inner steps, 0 or more; step ``t`` uses inner batch ``t`` modulo their number.
        optimizer: makes them.
    """

    derivatives: ClassVar[Literal["first", "forward", "second"]] = "first"
    drops: ClassVar[str] = (
        "every path through an inner gradient; use FiniteDifference, ForwardMode or Unrolled for those"
    )

    steps: int = 1
    optimizer: AbstractInnerOptimizer = field(default_factory=SGD)

    def __post_init__(self) -> None:
        require_at_least("steps", self.steps, 0)

    def solve(self, instance: Instance) -> SolverAnswer:
        """See :meth:`AbstractSolver.solve`."""
        trajectory = Trajectory(instance, self.optimizer)
        start = instance.start()
        point = trajectory.begin(start)
        for step in range(self.steps):
            point = trajectory.advance(point, step)
        outer = instance.outer_gradient(point.params, point.buffers)
        info = SolverInfo(
            is_finite=torch.isfinite(outer.loss),
            iterations=self.steps,
            inner_gradients=self.steps,
            inner_slope=point.slope,
        )
        indirect = instance.through_start(start, outer.in_params)
        return SolverAnswer(outer.in_hyper, indirect, outer.loss, point.params, point.buffers, info, point.state)
