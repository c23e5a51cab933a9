"""Layer-wise adaptive rate scaling: steps in proportion to the size of what they move."""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

from auxo.errors import ConfigError


class Lars(Optimizer):
    r"""Descend with momentum, each tensor's gradient scaled to a given share of that tensor's norm.

    For every tensor ``w`` with gradient ``g``, with weight decay ``c``, trust coefficient ``e`` and momentum ``m``,

    .. math:: u = g + c w, \qquad q = e \frac{\|w\|}{\|u\|}, \qquad v \leftarrow m v + q u, \qquad w \leftarrow w - lr\,
    v,

    with ``q = 1`` where ``w`` or ``u`` is zero, and where the group's ``adapts`` is false. Scaling the
    gradients, as clipping their norm does, changes a step through the decay only.

    Two forms are in use. Here the norm below is that of gradient and decay together, and the rate multiplies the
    velocity, as in the released code of Barlow Twins, MoCo v3 and MAE. The paper divides by ``||g|| + c ||w||``, which
    is never smaller, and lets the rate of each step into the velocity.

    Cost: grouped kernels, and one of its own per tensor. Memory: a velocity, and an update while it steps.

    Source: You, Gitman and Ginsburg, Large Batch Training of Convolutional Networks, 2017
    (https://arxiv.org/abs/1708.03888), Algorithm 1; https://github.com/facebookresearch/barlowtwins.

    Args:
        params: parameters, or groups of them that may override the options below; those of a group on one device.
        lr: learning rate, >= 0; the share of its norm that a tensor moves in a step is about
            ``lr * trust_coefficient / (1 - momentum)`` at the most.
        momentum: in [0, 1).
        weight_decay: ``c``, >= 0.
        trust_coefficient: ``e``, above 0.
        adapts: whether gradients are scaled; without it this is SGD.

    Raises:
        ConfigError: an option is out of its range.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> weight.grad = torch.tensor([0.0, 100.0])
        >>> Lars([weight], lr=1.0, trust_coefficient=0.1).step()  # the norm is 5, so a step has length 0.5
        >>> weight.tolist()
        [3.0, 3.5]
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        adapts: bool = True,
    ) -> None:
        checks = (
            (lr >= 0, "lr >= 0", lr),
            (0 <= momentum < 1, "momentum in [0, 1)", momentum),
            (weight_decay >= 0, "weight_decay >= 0", weight_decay),
            (trust_coefficient > 0, "trust_coefficient > 0", trust_coefficient),
        )
        for is_valid, expected, got in checks:
            if not is_valid:
                raise ConfigError(expected, str(got), "choose a value in that range")
        options = {"momentum": momentum, "weight_decay": weight_decay, "trust_coefficient": trust_coefficient}
        super().__init__(params, {"lr": lr, **options, "adapts": adapts})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float | Tensor] | None = None) -> float | Tensor | None:
        """Move every parameter that has a gradient.

        Args:
            closure: evaluates the loss and its gradients anew; called first.

        Returns:
            What the closure returns.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            gradients = {weight: weight.grad for weight in group["params"] if weight.grad is not None}
            if gradients:
                self._move_parameters(gradients, group)
        return loss

    def _move_parameters(self, gradients: dict[Tensor, Tensor], group: dict[str, Any]) -> None:
        """Move parameters that share their options, each along its gradient."""
        parameters = [*gradients]
        updates = [*torch._foreach_add([*gradients.values()], parameters, alpha=group["weight_decay"])]
        if group["adapts"]:
            sizes, lengths = torch.stack(torch._foreach_norm(parameters)), torch.stack(torch._foreach_norm(updates))
            ratios = group["trust_coefficient"] * sizes / lengths
            torch._foreach_mul_(updates, torch.where((sizes > 0) & (lengths > 0), ratios, 1.0).unbind())
        if group["momentum"]:
            velocities = [self._read_velocity(parameter) for parameter in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, updates)
            updates = velocities
        torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _read_velocity(self, parameter: Tensor) -> Tensor:
        """Return the velocity of a parameter, zero before its first step."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        velocity: Tensor = state["momentum_buffer"]
        return velocity
