"""Optimisers of the inner level as pure functions that can be differentiated."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from auxo.bilevel.problem import Params
from auxo.bilevel.vectors import shift
from auxo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AbstractInnerOptimizer(ABC):
    """Moves inner parameters along their gradients.

    Args:
        rate: learning rate, above 0; or the name of the hyper-parameter that holds it, which is then learnt: a scalar
            under that name for all parameters, or one scalar per parameter under ``name.parameter``.

    Attributes:
        moments: names of what the optimiser keeps for each entry of a parameter; in the state ``moment.parameter``.
        counts: names of the scalars in its state.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]] = ()

    rate: float | str = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.rate, str) and not self.rate > 0:
            raise ConfigError("an inner rate above 0", str(self.rate), "choose one, or name a hyper-parameter")

    def initial_state(self, params: Params) -> Params:
        """Return the state before the first step: zeros."""
        state = {f"{moment}.{name}": torch.zeros_like(p) for moment in self.moments for name, p in params.items()}
        first = next(iter(params.values()))
        return {**state, **{name: first.new_zeros(()) for name in self.counts}}

    def step(self, params: Params, gradients: Params, state: Params, hyper: Params) -> tuple[Params, Params]:
        """Return the moved parameters and the new state, both attached to all arguments.

        Raises:
            ConfigError: the rate is to be learnt, and no hyper-parameter holds it.
        """
        moves, new_state = self.moves(gradients, state)
        if not isinstance(self.rate, str):
            return shift(params, -self.rate, moves), new_state
        if self.rate in hyper:
            return shift(params, -hyper[self.rate], moves), new_state
        moved: Params = {}
        for name, value in params.items():
            key = f"{self.rate}.{name}"
            if key not in hyper:
                raise ConfigError(
                    f"a hyper-parameter {self.rate!r}, or one for each inner parameter",
                    f"none named {key!r}",
                    "add it to hyper, or give the rate as a number",
                )
            moved |= shift({name: value}, -hyper[key], moves)
        return moved, new_state

    @abstractmethod
    def moves(self, gradients: Params, state: Params) -> tuple[Params, Params]:
        """Return what is subtracted, times the rate, from each parameter, and the new state; attached."""


@dataclass(frozen=True, kw_only=True)
class SGD(AbstractInnerOptimizer):
    """Plain gradient descent: ``w - rate * g``."""

    def moves(self, gradients: Params, state: Params) -> tuple[Params, Params]:
        """See :meth:`AbstractInnerOptimizer.moves`."""
        return gradients, state


@dataclass(frozen=True, kw_only=True)
class Momentum(AbstractInnerOptimizer):
    """Gradient descent with heavy-ball momentum as torch has it: ``m = momentum * m + g``, ``w - rate * m``.

    Args:
        rate: see :class:`AbstractInnerOptimizer`.
        momentum: in 0..1, 1 excluded.
    """

    moments: ClassVar[tuple[str, ...]] = ("momentum",)

    momentum: float = 0.9

    def moves(self, gradients: Params, state: Params) -> tuple[Params, Params]:
        """See :meth:`AbstractInnerOptimizer.moves`."""
        moves = shift(gradients, self.momentum, {name: state[f"momentum.{name}"] for name in gradients})
        return moves, {f"momentum.{name}": value for name, value in moves.items()}


@dataclass(frozen=True, kw_only=True)
class Adam(AbstractInnerOptimizer):
    """Adam, with a derivative that is finite where a gradient is zero.

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015 (https://arxiv.org/abs/1412.6980).
    Where the second moment is zero, so is the step, and its derivative is taken as that of the constant zero.

    Args:
        rate: see :class:`AbstractInnerOptimizer`.
        betas: decay of the first and second moment, each in 0..1, 1 excluded.
        epsilon: added to the root of the second moment, above 0.
    """

    moments: ClassVar[tuple[str, ...]] = ("first", "second")
    counts: ClassVar[tuple[str, ...]] = ("step",)

    rate: float | str = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def moves(self, gradients: Params, state: Params) -> tuple[Params, Params]:
        """See :meth:`AbstractInnerOptimizer.moves`."""
        beta1, beta2 = self.betas
        count = state["step"].detach() + 1
        bias1, bias2 = 1 - beta1**count, 1 - beta2**count
        moves, new_state = {}, {"step": count}
        for name, gradient in gradients.items():
            first = beta1 * state[f"first.{name}"] + (1 - beta1) * gradient
            second = beta2 * state[f"second.{name}"] + (1 - beta2) * gradient.square()
            corrected = second / bias2
            is_zero = corrected == 0
            root = torch.where(is_zero, 1.0, corrected).sqrt().masked_fill(is_zero, 0.0)
            moves[name] = first / bias1 / (root + self.epsilon)
            new_state |= {f"first.{name}": first, f"second.{name}": second}
        return moves, new_state
