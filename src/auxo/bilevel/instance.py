"""A two-level problem at given parameters and batches: every evaluation that solvers are made of, checked."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.derivatives import check_loss, require_scalar
from auxo.bilevel.problem import BilevelProblem, Data, Level, Mean, Params
from auxo.bilevel.second_order import FastSecondDerivatives
from auxo.bilevel.vectors import Layout
from auxo.errors import HypergradientError

_LOSS = "outer loss"  # no parameter of a module is called so


class OuterGradient(NamedTuple):
    """The outer loss and its gradients, averaged over the processes; detached.

    Args:
        loss: scalar.
        in_params: by name; zeros where the loss does not reach a parameter.
        in_hyper: by name; ``None`` where the loss does not reach a hyper-parameter.
    """

    loss: Float[Tensor, ""]
    in_params: Params
    in_hyper: dict[str, Tensor | None]


@dataclass(frozen=True)
class Instance:
    """A problem with all that its losses are evaluated at.

    Args:
        problem: the two losses.
        params: inner parameters; detached.
        hyper: hyper-parameters; leaves that require gradient.
        buffers: of the inner network.
        inner: at least one inner batch.
        outer: the outer batch.
        over_processes: averages a vector over the processes; ``None`` where there is one.
        inner_state: state of an inner optimiser to go on from; empty to start afresh.
        warm_start: solution of an earlier linear system by parameter name; empty to start at zero.
        is_second_order: whether the losses will be differentiated twice.
    """

    problem: BilevelProblem
    params: Params
    hyper: Params
    buffers: Params
    inner: Sequence[Data]
    outer: Data
    over_processes: Mean | None
    inner_state: Params
    warm_start: Params
    is_second_order: bool

    @property
    def device(self) -> torch.device:
        """Where the inner parameters are."""
        return next(iter(self.params.values())).device

    def start(self) -> Params:
        """Return the inner parameters of the first inner step, attached to the hyper-parameters if they depend on them.

        Raises:
            HypergradientError: ``initial`` returns other names or shapes than the inner parameters have.
        """
        if self.problem.initial is None:
            return self.params
        start = self.problem.initial(self.params, self.hyper)
        shapes = {name: tuple(value.shape) for name, value in self.params.items()}
        got = {name: tuple(value.shape) for name, value in start.items()}
        if got != shapes:
            odd = sorted(name for name in {*got, *shapes} if got.get(name) != shapes.get(name))
            raise HypergradientError(
                f"initial(params, hyper) to return a tensor of shape {shapes.get(odd[0], 'nothing')} for {odd[0]!r}",
                f"{got.get(odd[0], 'nothing')}",
                "return one tensor per inner parameter, under its name and in its shape",
            )
        return start

    def through_start(self, start: Params, adjoint: Params) -> dict[str, Tensor | None]:
        """Return the hyper-parameters' gradients through the start, of a loss with gradients ``adjoint`` in it."""
        attached = [name for name, value in start.items() if value.requires_grad]
        if not attached:
            return dict.fromkeys(self.hyper)
        outputs, weights = [start[name] for name in attached], [adjoint[name] for name in attached]
        pulled = torch.autograd.grad(outputs, [*self.hyper.values()], weights, allow_unused=True)
        return dict(zip(self.hyper, pulled, strict=True))

    def inner_loss(self, params: Params, buffers: Params, batch: Data) -> tuple[Float[Tensor, ""], Params]:
        """Return the inner loss, attached, and the buffers after it, detached."""
        with FastSecondDerivatives() if self.is_second_order else nullcontext():
            return self._evaluate_loss("inner_loss", self.problem.inner_loss, params, buffers, batch)

    def mean_inner_loss(self, params: Params) -> Float[Tensor, ""]:
        """Return the mean inner loss over the inner batches, each from the same buffers."""
        losses = [self.inner_loss(params, self.buffers, batch)[0] for batch in self.inner]
        return losses[0] if len(losses) == 1 else torch.stack(losses).mean()

    def outer_gradient(self, params: Params, buffers: Params) -> OuterGradient:
        """Return the outer loss at the inner parameters, with its gradients in them and in the hyper-parameters."""
        params = leaves(params)
        loss, _ = self._evaluate_loss("outer_loss", self.problem.outer_loss, params, buffers, self.outer)
        if not loss.requires_grad:
            raise HypergradientError(
                "an outer loss that depends on the inner parameters or on the hyper-parameters",
                "a constant",
                "compute it from the params it is given, without .detach(), .item() or torch.no_grad()",
            )
        in_params, in_hyper = self._both_gradients(loss, params)
        averaged = self.average({_LOSS: loss.detach(), **in_params})
        mean_loss = averaged.pop(_LOSS)
        return OuterGradient(mean_loss, averaged, self.average_present(in_hyper))

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the average of a tensor over the processes."""
        return tensor if self.over_processes is None else self.over_processes(tensor)

    def average(self, tensors: Params) -> Params:
        """Return the averages of tensors over the processes, from one message; detached where there are several."""
        if self.over_processes is None or not tensors:
            return tensors
        layout = Layout(tensors)
        return layout.split(self.over_processes(layout.flatten({n: value.detach() for n, value in tensors.items()})))

    def average_present(self, gradients: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
        """Average gradients over the processes in one message; ``None`` stays ``None``, and what is local as it is."""
        local = self.problem.local
        shared = {name: value for name, value in gradients.items() if value is not None and name not in local}
        return {**gradients, **self.average(shared)}

    def inner_gradient_in_hyper(self, params: Params) -> tuple[dict[str, Tensor | None], Params]:
        """Return the mean inner loss's gradients in the hyper-parameters and in the inner parameters.

        Args:
            params: leaves that require gradient.
        """
        in_params, in_hyper = self._both_gradients(self.mean_inner_loss(params), params)
        return self.average_present(in_hyper), self.average(in_params)

    def _both_gradients(self, loss: Float[Tensor, ""], params: Params) -> tuple[Params, dict[str, Tensor | None]]:
        """Return this process's gradients in the inner parameters, zeros where there is none, and in the hypers."""
        gradients = torch.autograd.grad(loss, [*params.values(), *self.hyper.values()], allow_unused=True)
        in_params = {
            name: torch.zeros_like(value) if gradient is None else gradient
            for (name, value), gradient in zip(params.items(), gradients, strict=False)
        }
        return in_params, dict(zip(self.hyper, gradients[len(params) :], strict=True))

    def at(self, buffers: Params) -> "Instance":
        """Return the same problem with other buffers."""
        return replace(self, buffers=buffers)

    def single_step(self, solver: str) -> "Instance":
        """Return the problem itself, which has one inner batch and starts where it is.

        Raises:
            HypergradientError: it has several, or an initialisation to learn: ``solver`` makes one step from
            ``params``.
        """
        if len(self.inner) != 1:
            raise HypergradientError(
                f"one inner batch for {solver}, which makes one step",
                f"{len(self.inner)}",
                "join them, or use Unrolled",
            )
        if self.problem.initial is not None:
            raise HypergradientError(
                f"a problem without initial for {solver}", "one with", "use Unrolled(steps=1) or FirstOrder"
            )
        return self

    def _evaluate_loss(
        self,
        name: str,
        level: Level,
        params: Params,
        buffers: Params,
        batch: Data,
    ) -> tuple[Float[Tensor, ""], Params]:
        """Evaluate a loss and check that it is a scalar and changed nothing it was given."""
        given = {"inner parameter": params, "hyper-parameter": self.hyper, "buffer": buffers}
        before = {(kind, key): value._version for kind, group in given.items() for key, value in group.items()}
        returned = level(params, self.hyper, buffers, batch)
        check_loss(name, returned)
        loss, new_buffers = returned
        for kind, group in given.items():
            for key, value in group.items():
                if value._version != before[kind, key]:
                    raise HypergradientError(
                        f"{name} to leave what it is given as it is",
                        f"{kind} {key!r} changed in place",
                        "return a changed clone instead, or evaluate the module through FunctionalModule",
                    )
        require_scalar(name, loss)
        return loss, {key: value.detach() for key, value in new_buffers.items()}


def leaves(tensors: Mapping[str, Tensor]) -> Params:
    """Return the tensors cut from their graphs, each requiring gradient."""
    return {name: value.detach().requires_grad_() for name, value in tensors.items()}


def scaled_difference(
    factor: Tensor | float, left: Mapping[str, Tensor | None], right: Mapping[str, Tensor | None]
) -> dict[str, Tensor | None]:
    """Return ``factor * (left - right)`` by name; ``None`` where either is missing."""
    pairs = {name: (value, right[name]) for name, value in left.items()}
    return {name: None if a is None or b is None else factor * (a - b) for name, (a, b) in pairs.items()}
