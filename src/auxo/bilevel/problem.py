"""What a two-level problem is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

Params: TypeAlias = dict[str, Tensor]
"""Tensors by name: inner parameters, hyper-parameters or buffers."""

Data: TypeAlias = Any
"""A batch, of any type that the losses take."""

Level: TypeAlias = Callable[[Params, Params, Params, Data], tuple[Tensor, Params]]
"""Maps (inner parameters, hyper-parameters, buffers, batch) to a scalar loss and the new buffers."""

Initial: TypeAlias = Callable[[Params, Params], Params]
"""Maps (inner parameters, hyper-parameters) to the inner parameters that the first inner step starts from."""

Mean: TypeAlias = Callable[[Tensor], Tensor]
"""Averages a vector over the processes."""


@dataclass(frozen=True, kw_only=True)
class BilevelProblem:
    r"""Choose hyper-parameters for which the inner problem's solution has a small outer loss.

    .. math:: \min_h F(w^*(h), h) \quad\text{with}\quad w^*(h) = \arg\min_w G(w, h).

    Both losses are pure: they may read only their arguments, and return new buffers instead of changing those they get
    (:class:`auxo.bilevel.FunctionalModule` makes a torch module so).

    Args:
        inner_loss: ``G``.
        outer_loss: ``F``.
        initial: where the first inner step starts, as a function of the hyper-parameters; by default at the inner
            parameters that are passed in. Read by the solvers that make inner steps from there (:class:`Unrolled`,
            :class:`FirstOrder`): meta-learning an initialisation is ``initial=lambda params, hyper: hyper``.
        frozen: names of hyper-parameters that may be without a gradient, which is then zero.
        local: names of hyper-parameters that are of this process's part of the batch alone, such as labels that a
            network gives to its images. Their gradients are not averaged over the processes: what they follow from is
            for the caller to average.
    """

    inner_loss: Level
    outer_loss: Level
    initial: Initial | None = None
    frozen: frozenset[str] = frozenset()
    local: frozenset[str] = frozenset()
