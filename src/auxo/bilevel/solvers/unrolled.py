"""Differentiate through inner steps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from auxo.bilevel.inner_optimizers import SGD, AbstractInnerOptimizer
from auxo.bilevel.instance import Instance
from auxo.bilevel.linear.interface import require_at_least
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.bilevel.trajectory import Adjoint, Point, Record, Trajectory


@dataclass(frozen=True, kw_only=True)
class Unrolled(AbstractSolver):
    r"""Make inner steps and differentiate the outer loss through all of them, or through the last few.

    The exact derivative of what the steps do, whether or not they reach the inner minimum; with ``steps`` large enough
    at a contracting rate, that of the minimum. The steps are differentiated one at a time from the last to the first,
    so every second derivative in memory belongs to one step. Running statistics of batch norm and other buffers are
    carried from step to step as constants.

    Source: Maclaurin, Duvenaud and Adams, Gradient-based Hyperparameter Optimization through Reversible Learning, ICML
    2015; truncation: Shaban et al., Truncated Back-propagation for Bilevel Optimization, AISTATS 2019
    (https://arxiv.org/abs/1810.10667); checkpoints: Griewank, Achieving Logarithmic Growth of Temporal and Spatial
    Complexity in Reverse Automatic Differentiation, 1992, in its two-level form.

    Cost: ``steps`` inner gradients and as many products with second derivatives; checkpointing adds two more inner
    gradients a step at the most. Memory: without checkpointing the graphs of all differentiated steps; with it, the
    inner parameters and optimiser state of about ``2 sqrt(steps)`` steps and the graph of one.

    Args:
        steps: inner steps; step ``t`` uses inner batch ``t`` modulo their number.
        optimizer: makes them; its rate may be a hyper-parameter.
        truncate: differentiate only through this many of the last steps; all by default. What is left out is as large
            as the contraction of the steps to that power.
        checkpointing: keep a few points and recompute the rest.
    """

    steps: int = 1
    optimizer: AbstractInnerOptimizer = field(default_factory=SGD)
    truncate: int | None = None
    checkpointing: bool = False

    def __post_init__(self) -> None:
        require_at_least("steps", self.steps, 1)
        if self.truncate is not None:
            require_at_least("truncate", self.truncate, 1)

    def solve(self, instance: Instance) -> SolverAnswer:
        """See :meth:`AbstractSolver.solve`."""
        trajectory = Trajectory(instance, self.optimizer)
        start = instance.start()
        point = trajectory.begin(start)
        first = max(self.steps - self.truncate, 0) if self.truncate is not None else 0
        for step in range(first):
            point = trajectory.advance(point, step)
        sweep = _Sweep(
            trajectory, first, self.steps, is_start_wanted=first == 0 and instance.problem.initial is not None
        )
        last = sweep.forward(point, segment=math.isqrt(self.steps - first - 1) + 1 if self.checkpointing else None)
        outer = instance.outer_gradient(last.params, last.buffers)
        zeros = {name: torch.zeros_like(value) for name, value in last.state.items()}
        adjoint, indirect = sweep.backward(Adjoint(outer.in_params, zeros))
        if sweep.is_start_wanted:
            _add_in_place(indirect, instance.through_start(start, adjoint.params))
        info = SolverInfo(
            is_finite=torch.isfinite(outer.loss),
            iterations=self.steps,
            hessian_products=self.steps - first - (not sweep.is_start_wanted and first == 0),
            inner_gradients=first + sweep.gradients,
            inner_slope=last.slope,
        )
        return SolverAnswer(
            outer.in_hyper,
            instance.average_present(indirect),
            outer.loss,
            last.params,
            last.buffers,
            info,
            last.state,
        )


class _Sweep:
    """Forward and backward through the differentiated steps, with or without checkpoints."""

    def __init__(self, trajectory: Trajectory, first: int, end: int, *, is_start_wanted: bool) -> None:
        self._trajectory = trajectory
        self._first = first
        self._end = end
        self.is_start_wanted = is_start_wanted
        self.gradients = 0
        self._records: list[tuple[int, Record]] = []
        self._checkpoints: list[tuple[int, Point]] = []

    def forward(self, point: Point, *, segment: int | None) -> Point:
        """Make the steps; keep every record, or with a segment length the point at every segment's start."""
        for step in range(self._first, self._end):
            if segment is None:
                record, point = self._trajectory.record(point, step)
                self._records.append((step, record))
            else:
                if (step - self._first) % segment == 0:
                    self._checkpoints.append((step, point))
                point = self._trajectory.advance(point, step)
            self.gradients += 1
        return point

    def backward(self, adjoint: Adjoint) -> tuple[Adjoint, dict[str, Tensor | None]]:
        """Differentiate the steps from the last to the first."""
        total: dict[str, Tensor | None] = dict.fromkeys(self._trajectory.instance.hyper)
        for step, record in self._replay_steps():
            is_first = step == self._first and not self.is_start_wanted
            adjoint, gradients = self._trajectory.pull_back(record, adjoint, is_first=is_first)
            _add_in_place(total, gradients)
        return adjoint, total

    def _replay_steps(self) -> Iterator[tuple[int, Record]]:
        """Yield every step with its record, last first, recomputing what was not kept; nothing is held on to."""
        while self._records:
            yield self._records.pop()
        end = self._end
        while self._checkpoints:
            begin, point = self._checkpoints.pop()
            points = [point]
            for step in range(begin, end - 1):
                points.append(self._trajectory.advance(points[-1], step))
                self.gradients += 1
            for step in reversed(range(begin, end)):
                self.gradients += 1
                yield step, self._trajectory.record(points.pop(), step)[0]
            end = begin


def _add_in_place(total: dict[str, Tensor | None], gradients: dict[str, Tensor | None]) -> None:
    """Add gradients to a running total in place of its entries."""
    for name, value in gradients.items():
        before = total[name]
        total[name] = value if before is None else before if value is None else before + value
