"""Inner steps: made without a graph, or recorded so that they can be differentiated one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.inner_optimizers import AbstractInnerOptimizer
from auxo.bilevel.instance import Instance, leaves
from auxo.bilevel.problem import Data, Params

__all__ = ["Adjoint", "Point", "Record", "Trajectory"]


class Point(NamedTuple):
    """Where the inner training stands; detached.

    Args:
        vector: the inner parameters as one vector.
        state: of the inner optimiser.
        buffers: of the inner network.
        slope: norm of the gradient that led here; ``None`` at the start.
    """

    vector: Float[Tensor, " size"]
    state: Params
    buffers: Params
    slope: Float[Tensor, ""] | None = None


class Adjoint(NamedTuple):
    """Derivative of the outer loss in where the inner training stands.

    Args:
        vector: in the inner parameters.
        state: in the optimiser's state; only what can be differentiated.
    """

    vector: Float[Tensor, " size"]
    state: Params


class Record(NamedTuple):
    """The graphs of one inner step.

    Args:
        params: the inner parameters before it; leaves.
        gradients: the inner gradient in each, attached.
        before: leaves of the optimiser's arithmetic: the parameters as one vector, their gradient, the state.
        after: its results: the moved vector and the new state, attached.
    """

    params: Params
    gradients: dict[str, Tensor]
    before: Params
    after: Params


@dataclass(frozen=True)
class Trajectory:
    """The steps of an inner optimiser on an instance's inner batches, taken in turn.

    Args:
        instance: the problem.
        optimizer: the inner optimiser.
    """

    instance: Instance
    optimizer: AbstractInnerOptimizer

    def begin(self, start: Mapping[str, Tensor]) -> Point:
        """Return the point before the first step, with the optimiser's state that the caller passed in, if any."""
        vector = self.instance.layout.flatten(start).detach()
        state = self.instance.inner_state or self.optimizer.initial_state(vector)
        return Point(vector, state, self.instance.buffers)

    def batch(self, step: int) -> Data:
        """Return the batch of a step."""
        return self.instance.inner[step % len(self.instance.inner)]

    def advance(self, point: Point, step: int, *, extra: Tensor | None = None) -> Point:
        """Make one step and keep no graph.

        Args:
            point: where to start.
            step: its number, which chooses the batch.
            extra: a gradient to add to the inner one, already averaged over the processes.
        """
        layout = self.instance.layout
        params = leaves(layout.split(point.vector))
        loss, buffers = self.instance.inner_loss(params, point.buffers, self.batch(step))
        gradients = torch.autograd.grad(loss, [*params.values()], allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            gradient = self.instance.mean(layout.flatten(gradients))
            gradient = gradient if extra is None else gradient + extra
            rate = self.optimizer.rates(self.instance.hyper, layout)
            vector, state = self.optimizer.step(point.vector, gradient, point.state, rate)
            return Point(vector, state, buffers, gradient.norm())

    def record(self, point: Point, step: int) -> tuple[Record, Point]:
        """Make one step and keep its graphs, for :meth:`pull_back`."""
        layout = self.instance.layout
        params = leaves(layout.split(point.vector))
        loss, buffers = self.instance.inner_loss(params, point.buffers, self.batch(step))
        found = self.instance.second_order_gradients(loss, params)
        gradients = {name: torch.zeros_like(params[name]) if g is None else g for name, g in found.items()}
        averaged = self.instance.mean(layout.flatten({name: g.detach() for name, g in gradients.items()}))
        before = leaves({"vector": point.vector, "gradient": averaged, **point.state})
        state = {name: before[name] for name in point.state}
        rate = self.optimizer.rates(self.instance.hyper, layout)
        vector, new_state = self.optimizer.step(before["vector"], before["gradient"], state, rate)
        record = Record(params, gradients, before, {"vector": vector, **new_state})
        detached = {name: value.detach() for name, value in new_state.items()}
        return record, Point(vector.detach(), detached, buffers, averaged.norm())

    def pull_back(
        self, record: Record, adjoint: Adjoint, *, is_first: bool
    ) -> tuple[Adjoint, dict[str, Tensor | None]]:
        """Differentiate one recorded step backwards.

        Args:
            record: of the step; its graphs are freed.
            adjoint: derivative of the outer loss after the step.
            is_first: whether nothing before the step depends on the hyper-parameters, so that the derivative in the
                parameters before it is not wanted; the vector of the returned adjoint is then meaningless.

        Returns:
            The derivative of the outer loss before the step, and this process's gradients in the hyper-parameters;
            their average over the processes is the step's contribution.
        """
        hyper = self.instance.hyper
        layout = self.instance.layout
        cotangents = {"vector": adjoint.vector, **adjoint.state}
        kept = [name for name, value in record.after.items() if value.requires_grad]
        rated = hyper if isinstance(self.optimizer.rate, str) else {}
        pulled = torch.autograd.grad(
            [record.after[name] for name in kept],
            [*record.before.values(), *rated.values()],
            [cotangents[name] for name in kept],
            allow_unused=True,
        )
        before = dict(zip(record.before, pulled, strict=False))
        gradients: dict[str, Tensor | None] = {
            **dict.fromkeys(hyper),
            **dict(zip(rated, pulled[len(before) :], strict=True)),
        }
        weights = layout.split(_or_zeros(before["gradient"], adjoint.vector))
        reached = {name: value for name, value in record.gradients.items() if value.requires_grad}
        vector = _or_zeros(before["vector"], adjoint.vector)
        if reached:
            wanted = {} if is_first else record.params
            through = torch.autograd.grad(
                [*reached.values()],
                [*wanted.values(), *hyper.values()],
                [weights[name] for name in reached],
                allow_unused=True,
            )
            for name, value in zip(hyper, through[len(wanted) :], strict=True):
                gradients[name] = _add(gradients[name], value)
            if wanted:
                curved = [
                    torch.zeros_like(param) if value is None else value
                    for param, value in zip(wanted.values(), through, strict=False)
                ]
                vector = vector + self.instance.mean(layout.flatten(curved))
        state = {name: _or_zeros(before[name], record.before[name]) for name in adjoint.state}
        return Adjoint(vector, state), gradients


def _or_zeros(value: Tensor | None, like: Tensor) -> Tensor:
    """Return the value, or zeros where there is none."""
    return torch.zeros_like(like) if value is None else value


def _add(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    """Add two gradients, either of which may be missing."""
    if left is None or right is None:
        return right if left is None else left
    return left + right
