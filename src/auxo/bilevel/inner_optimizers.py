"""Optimisers of the inner level as pure functions that can be differentiated."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.problem import Params
from auxo.bilevel.vectors import Layout
from auxo.errors import ConfigError

__all__ = ["SGD", "AbstractInnerOptimizer", "Adam", "Momentum"]


@dataclass(frozen=True, kw_only=True)
class AbstractInnerOptimizer(ABC):
    """Moves one flat vector of inner parameters along its gradient.

    Args:
        rate: learning rate, above 0; or the name of the hyper-parameter that holds it, which is then learnt: a scalar
            under that name for all parameters, or one scalar per parameter under ``name.parameter``.

    Attributes:
        moments: names of the vectors in the optimiser's state.
        counts: names of the scalars in it.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]] = ()

    rate: float | str = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.rate, str) and not self.rate > 0:
            raise ConfigError("an inner rate above 0", str(self.rate), "choose one, or name a hyper-parameter")

    def initial_state(self, vector: Float[Tensor, " size"]) -> Params:
        """Return the state before the first step: zeros."""
        state = {name: torch.zeros_like(vector) for name in self.moments}
        return {**state, **{name: vector.new_zeros(()) for name in self.counts}}

    @abstractmethod
    def step(
        self, vector: Float[Tensor, " size"], gradient: Float[Tensor, " size"], state: Params, rate: Tensor | float
    ) -> tuple[Float[Tensor, " size"], Params]:
        """Return the moved vector and the new state, both attached to all arguments."""

    def rates(self, hyper: Params, layout: Layout) -> Tensor | float:
        """Return the rate of every entry, attached to the hyper-parameters that hold it.

        Raises:
            ConfigError: no hyper-parameter holds it.
        """
        if not isinstance(self.rate, str):
            return self.rate
        if self.rate in hyper:
            return hyper[self.rate]
        names = [f"{self.rate}.{name}" for name in layout.names]
        missing = [name for name in names if name not in hyper]
        if missing:
            raise ConfigError(
                f"a hyper-parameter {self.rate!r}, or one for each inner parameter",
                f"none named {missing[0]!r}",
                "add it to hyper, or give the rate as a number",
            )
        return torch.cat([hyper[name].expand(size) for name, size in zip(names, layout.sizes, strict=True)])


@dataclass(frozen=True, kw_only=True)
class SGD(AbstractInnerOptimizer):
    """Plain gradient descent: ``w - rate * g``."""

    def step(
        self, vector: Float[Tensor, " size"], gradient: Float[Tensor, " size"], state: Params, rate: Tensor | float
    ) -> tuple[Float[Tensor, " size"], Params]:
        """See :meth:`AbstractInnerOptimizer.step`."""
        return _descend(vector, gradient, rate), state


@dataclass(frozen=True, kw_only=True)
class Momentum(AbstractInnerOptimizer):
    """Gradient descent with heavy-ball momentum as torch has it: ``m = momentum * m + g``, ``w - rate * m``.

    Args:
        rate: see :class:`AbstractInnerOptimizer`.
        momentum: in 0..1, 1 excluded.
    """

    moments: ClassVar[tuple[str, ...]] = ("momentum",)

    momentum: float = 0.9

    def step(
        self, vector: Float[Tensor, " size"], gradient: Float[Tensor, " size"], state: Params, rate: Tensor | float
    ) -> tuple[Float[Tensor, " size"], Params]:
        """See :meth:`AbstractInnerOptimizer.step`."""
        momentum = self.momentum * state["momentum"] + gradient
        return _descend(vector, momentum, rate), {"momentum": momentum}


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

    def step(
        self, vector: Float[Tensor, " size"], gradient: Float[Tensor, " size"], state: Params, rate: Tensor | float
    ) -> tuple[Float[Tensor, " size"], Params]:
        """See :meth:`AbstractInnerOptimizer.step`."""
        beta1, beta2 = self.betas
        count = state["step"].detach() + 1
        first = beta1 * state["first"] + (1 - beta1) * gradient
        second = beta2 * state["second"] + (1 - beta2) * gradient.square()
        corrected = second / (1 - beta2**count)
        is_zero = corrected == 0
        root = torch.where(is_zero, 1.0, corrected).sqrt().masked_fill(is_zero, 0.0)
        move = first / (1 - beta1**count) / (root + self.epsilon)
        return _descend(vector, move, rate), {"first": first, "second": second, "step": count}


def _descend(vector: Tensor, move: Tensor, rate: Tensor | float) -> Tensor:
    """Return ``vector - rate * move``."""
    if isinstance(rate, Tensor):
        return torch.addcmul(vector, rate, move, value=-1)
    return torch.add(vector, move, alpha=-rate)
