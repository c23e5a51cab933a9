"""Optimisers and learning-rate schedules by configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from auxo.errors import ConfigError

__all__ = ["OptimizerConfig"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How parameters follow their gradients."""

    name: Literal["sgd", "adamw"] = "sgd"
    """The optimiser: SGD with momentum, or AdamW (which ignores momentum and nesterov)."""
    lr: float = 0.01
    """Learning rate at the first epoch, per step, in (0, 3.4e38], the range of float32."""
    momentum: float = 0.9
    """Momentum of SGD, in [0, 1)."""
    nesterov: bool = True
    """Nesterov's form of SGD's momentum."""
    weight_decay: float = 1e-4
    """L2 penalty added to the gradient (SGD) or decoupled decay (AdamW), in [0, 3.4e38]."""
    schedule: Literal["constant", "step", "cosine"] = "step"
    """How the learning rate falls, once an epoch: not, by a factor at milestones, or along a half cosine to zero."""
    milestones: tuple[float, ...] = (0.52, 0.8)
    """Fractions of the stage's epochs, each in (0, 1), at which "step" multiplies the rate by decay."""
    decay: float = 0.1
    """Factor of the "step" schedule, in (0, 1]."""

    def __post_init__(self) -> None:
        largest = torch.finfo(torch.float32).max
        checks = (
            (0 < self.lr <= largest, f"optimizer.lr in (0, {largest:.2g}]", self.lr),
            (0 <= self.momentum < 1, "optimizer.momentum in [0, 1)", self.momentum),
            (0 <= self.weight_decay <= largest, f"optimizer.weight-decay in [0, {largest:.2g}]", self.weight_decay),
            (0 < self.decay <= 1, "optimizer.decay in (0, 1]", self.decay),
            (all(0 < m < 1 for m in self.milestones), "optimizer.milestones in (0, 1)", self.milestones),
        )
        for is_valid, expected, got in checks:
            if not is_valid:
                raise ConfigError(expected, str(got), "choose a value in that range")
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise ConfigError("momentum > 0 with nesterov", "momentum 0", "pass --method.optimizer.no-nesterov")

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return the optimiser over ``parameters``; torch groups its kernels (foreach) where the device allows."""
        parameters = list(parameters)
        if self.name == "adamw":
            return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            parameters,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )

    def build_schedule(self, optimizer: Optimizer, *, num_epochs: int) -> LRScheduler:
        """Return the schedule of ``optimizer`` over ``num_epochs``, to be stepped once an epoch.

        Milestones are rounded to whole epochs, at least one: the released OSSL recipe, 130 and 200 of 250 epochs, is
        ``milestones=(0.52, 0.8)``.
        """
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, T_max=num_epochs)
        epochs = [max(1, round(m * num_epochs)) for m in self.milestones] if self.schedule == "step" else []
        return MultiStepLR(optimizer, milestones=epochs, gamma=self.decay)
