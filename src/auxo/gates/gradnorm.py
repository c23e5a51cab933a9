"""Weights that give all tasks gradients of like norm, larger where a task learns slower (GradNorm)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep
from auxo.options import Range

SOURCE = (
    "Chen, Badrinarayanan, Lee, Rabinovich, GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep "
    "Multitask Networks, ICML 2018 (arXiv 1711.02257): the loss sum |G - mean(G) r^alpha| with its target held fixed, "
    "taken in the last shared layer, and weights renormalised after each step; the paper's text was not opened, its "
    "algorithm and alpha = 1.5 are as in the released baselines of AuxiLearn (github.com/AvivNavon/AuxiLearn). Ours: "
    "plain descent for the weights with a rate of its own, 0.025; weights stay at 0 or above; the last shared layer is "
    "the last shared parameter of two or more dimensions; 1/M in front of all losses; a loss, or what is left of it, "
    "below 1e-7 counts as 1e-7."
)

_Where: TypeAlias = Literal["last", "all"]
_SMALLEST = 1e-7


class GradNormGate(AbstractGate):
    r"""Weights ``w_t / M`` that follow the loss of GradNorm, not the one they weigh.

    With ``g_t`` the norm of the gradient of task t's mean loss, ``G_t = w_t g_t``, and
    :math:`r_t = \tilde L_t / \frac1M \sum_s \tilde L_s` for :math:`\tilde L_t` the loss over that of the first step,

    .. math:: w_t \leftarrow w_t - \rho\, \mathrm{sign}(G_t - \bar G r_t^\alpha)\, g_t,

    which is a step of gradient descent on :math:`\sum_t |G_t - \bar G r_t^\alpha|` with the second term held fixed.
    Then negative weights are set to 0, and all are divided by their mean. What a step moves is used in the next one.
    The weights are a buffer: the main optimiser, its momentum and its decay have no part in them.

    Args:
        config: options.
        num_tasks: losses to weight.

    Cost: one backward pass for each task, through the heads alone with ``last``, through everything with ``all``.
    """

    calls: Tensor
    task_weights: Tensor
    first_losses: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of GradNorm."""

        alpha: Annotated[float, Range(low=0)] = 1.5
        """How much more weight a task gets that learns slower than the others; with 0 all norms are to be equal."""
        lr: Annotated[float, Range(above=0)] = 0.025
        """Learning rate of the weights."""
        where: _Where = "last"
        """Shared weights whose gradients are compared: the last parameter of two or more dimensions, or all."""

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse a backbone without gradients, which the gate compares."""
            return {"freeze_epochs": "the gate compares gradients in the backbone"}

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "GradNormGate":
            """Return the gate."""
            del num_features, seed  # the weights start at 1
            return GradNormGate(self, len(num_outputs))

    def __init__(self, config: Config, num_tasks: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("task_weights", torch.ones(num_tasks))
        self.register_buffer("first_losses", torch.ones(num_tasks))

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss at the weights as they are, and move them.

        Raises:
            ConfigError: the method does not say which weights are shared.
        """
        del features  # the gradients are those in the shared weights
        weights = self.task_weights.to(losses) / len(self.task_weights)  # before the step
        if step.learns:
            self._move_weights(losses, step)
        return GateResult(step.batch.mean((losses * weights).sum(1)), weights)

    def _move_weights(self, losses: Float[Tensor, "samples tasks"], step: GateStep) -> None:
        """Take a step of descent on GradNorm's loss."""
        norms = replace(step, shared=self._choose_weights(step)).gradients(losses).norm(dim=1).to(self.task_weights)
        means = step.runtime.mean_of(losses.detach().mean(0) * step.batch.share).to(self.task_weights)
        if self.calls == 0:
            self.first_losses.copy_(means.clamp_min(_SMALLEST))
        self.calls += 1
        left = (means / self.first_losses).clamp_min(_SMALLEST)
        weighed = self.task_weights * norms
        # With the target held fixed, the slope of |w g - target| in w is g times a sign: no graph through gradients.
        target = weighed.mean() * (left / left.mean()) ** self.config.alpha
        moved = (self.task_weights - self.config.lr * (weighed - target).sign() * norms).clamp_min(0)
        # One that lies below its target moves up, so not all of them are 0.
        self.task_weights.copy_(moved / moved.mean())

    def _choose_weights(self, step: GateStep) -> dict[str, torch.nn.Parameter]:
        """Return the shared weights whose gradients are compared."""
        kernels = [(name, value) for name, value in step.shared.items() if value.dim() > 1]
        return dict(kernels[-1:] if self.config.where == "last" and kernels else step.shared)
