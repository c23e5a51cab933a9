"""Inner steps: made without a graph, or recorded so that they can be differentiated one at a time."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.derivatives import attached_gradients
from auxo.bilevel.inner_optimizers import AbstractInnerOptimizer
from auxo.bilevel.instance import Instance, leaves
from auxo.bilevel.problem import Data, Params
from auxo.bilevel.vectors import joint_norm, shift
from auxo.errors import HypergradientError


class Point(NamedTuple):
    """Where the inner training stands; detached.

    Args:
        params: the inner parameters.
        state: of the inner optimiser.
        buffers: of the inner network.
        slope: norm of the gradient that led here; ``None`` at the start.
    """

    params: Params
    state: Params
    buffers: Params
    slope: Float[Tensor, ""] | None = None


class Adjoint(NamedTuple):
    """Derivative of the outer loss in where the inner training stands.

    Args:
        params: in the inner parameters.
        state: in the optimiser's state; only what can be differentiated.
    """

    params: Params
    state: Params


class Record(NamedTuple):
    """The graphs of one inner step: of the inner gradient, and of the optimiser's arithmetic on its average.

    Args:
        params: the inner parameters before it; leaves.
        gradients: the inner gradient in each, attached to ``params``.
        before: the parameters, their averaged gradient and the state that the arithmetic started from; leaves.
        after: the moved parameters and the new state, attached to ``before``.
    """

    params: Params
    gradients: Params
    before: tuple[Params, Params, Params]
    after: tuple[Params, Params]


@dataclass(frozen=True)
class Trajectory:
    """The steps of an inner optimiser on an instance's inner batches, taken in turn.

    Args:
        instance: the problem.
        optimizer: the inner optimiser.
    """

    instance: Instance
    optimizer: AbstractInnerOptimizer

    def begin(self, start: Params) -> Point:
        """Return the point before the first step, with the optimiser's state that the caller passed in, if any.

        Raises:
            HypergradientError: that state is another optimiser's, or of other parameters.
        """
        params = {name: value.detach() for name, value in start.items()}
        fresh, given = self.optimizer.initial_state(params), self.instance.inner_state
        wrong = sorted(given.keys() ^ fresh.keys()) if given else []
        if wrong:
            raise HypergradientError(
                f"an inner_state of {type(self.optimizer).__name__} over these inner parameters",
                f"{wrong[0]!r} {'unknown' if wrong[0] in given else 'missing'}",
                "pass result.inner_state of a call with the same inner optimiser, or none",
            )
        return Point(params, given or fresh, self.instance.buffers)

    def batch(self, step: int) -> Data:
        """Return the batch of a step."""
        return self.instance.inner[step % len(self.instance.inner)]

    def advance(self, point: Point, step: int, *, extra: Params | None = None) -> Point:
        """Make one step and keep no graph.

        Args:
            point: where to start.
            step: its number, which chooses the batch.
            extra: a gradient to add to the inner one, already averaged over the processes.
        """
        params = leaves(point.params)
        loss, buffers = self.instance.inner_loss(params, point.buffers, self.batch(step))
        found = torch.autograd.grad(loss, [*params.values()], allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            gradients = self.instance.average(dict(zip(params, found, strict=True)))
            gradients = gradients if extra is None else shift(gradients, 1.0, extra)
            moved, state = self.optimizer.step(point.params, gradients, point.state, self.instance.hyper)
            return Point(moved, state, buffers, joint_norm(gradients.values()))

    def record(self, point: Point, step: int) -> tuple[Record, Point]:
        """Make one step and keep its graphs, for :meth:`pull_back`."""
        params = leaves(point.params)
        loss, buffers = self.instance.inner_loss(params, point.buffers, self.batch(step))
        found = attached_gradients(loss, params)
        gradients = {name: torch.zeros_like(params[name]) if g is None else g for name, g in found.items()}
        averaged = self.instance.average({name: gradient.detach() for name, gradient in gradients.items()})
        before = leaves(point.params), leaves(averaged), leaves(point.state)
        moved, state = self.optimizer.step(*before, self.instance.hyper)
        record = Record(params, gradients, before, (moved, state))
        end = [{name: value.detach() for name, value in group.items()} for group in (moved, state)]
        return record, Point(end[0], end[1], buffers, joint_norm(averaged.values()))

    def pull_back(
        self, record: Record, adjoint: Adjoint, *, is_first: bool
    ) -> tuple[Adjoint, dict[str, Tensor | None]]:
        """Differentiate one recorded step backwards.

        Args:
            record: of the step; its graphs are freed.
            adjoint: derivative of the outer loss after the step.
            is_first: whether nothing before the step depends on the hyper-parameters, so that the derivative in the
                parameters before it is not wanted; those of the returned adjoint are then meaningless.

        Returns:
            The derivative of the outer loss before the step, and this process's gradients in the hyper-parameters;
            their average over the processes is the step's contribution.
        """
        hyper = self.instance.hyper
        (before, slopes, state), rates = self._pull_arithmetic(record, adjoint)
        reached = {name: value for name, value in record.gradients.items() if value.requires_grad}
        if not reached:
            return Adjoint(before, state), rates
        wanted = {} if is_first else record.params
        through = torch.autograd.grad(
            [*reached.values()],
            [*wanted.values(), *hyper.values()],
            [slopes[name] for name in reached],
            allow_unused=True,
        )
        gradients = {
            name: _add_gradients(rates[name], value) for name, value in zip(hyper, through[len(wanted) :], strict=True)
        }
        if wanted:
            curved = {name: _or_zeros(value, wanted[name]) for name, value in zip(wanted, through, strict=False)}
            before = shift(before, 1.0, self.instance.average(curved))
        return Adjoint(before, state), gradients

    def _pull_arithmetic(
        self, record: Record, adjoint: Adjoint
    ) -> tuple[tuple[Params, Params, Params], dict[str, Tensor | None]]:
        """Pull the adjoint back through the optimiser's arithmetic, to what it started from and to a learnt rate."""
        outputs, cotangents = [], []
        for after, group in zip(record.after, adjoint, strict=True):
            kept = [name for name, value in after.items() if value.requires_grad]
            outputs += [after[name] for name in kept]
            cotangents += [group[name] for name in kept]
        rated = self.instance.hyper if isinstance(self.optimizer.rate, str) else {}
        inputs = [value for group in (*record.before, rated) for value in group.values()]
        pulled = iter(torch.autograd.grad(outputs, inputs, cotangents, allow_unused=True))
        params, slopes, state = (
            {name: _or_zeros(next(pulled), value) for name, value in group.items()} for group in record.before
        )
        return (params, slopes, state), {**dict.fromkeys(self.instance.hyper), **dict(zip(rated, pulled, strict=True))}


def _or_zeros(value: Tensor | None, like: Tensor) -> Tensor:
    """Return the value, or zeros where there is none."""
    return torch.zeros_like(like) if value is None else value


def _add_gradients(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    """Add two gradients, either of which may be missing."""
    if left is None or right is None:
        return right if left is None else left
    return left + right
