"""The optimiser and the learning-rate schedule of a method, as options."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from auxo.errors import OptionError
from auxo.optimizers.lars import Lars
from auxo.optimizers.rates import RATE, scale_rates
from auxo.options import LATER, Options, Range

_Name: TypeAlias = Literal["sgd", "adamw", "lars"]
_Schedule: TypeAlias = Literal["constant", "step", "cosine", "fixmatch"]
_Moves: TypeAlias = Literal["epoch", "step"]

_TRUST = 0.001
_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Options):
    """How parameters follow their gradients."""

    name: _Name = "sgd"
    """The optimiser: SGD with momentum, AdamW (ignores momentum and nesterov), or LARS, which scales every tensor's
    gradient to the norm of that tensor (ignores nesterov)."""
    lr: Annotated[float, Range(above=0, high=_LARGEST)] = 0.01
    """Learning rate at the first epoch, per step."""
    momentum: Annotated[float, Range(low=0, below=1)] = 0.9
    """Momentum of SGD and LARS."""
    nesterov: bool = True
    """Nesterov's form of SGD's momentum."""
    weight_decay: Annotated[float, Range(low=0, high=_LARGEST)] = 1e-4
    """L2 penalty added to the gradient (SGD, LARS) or decoupled decay (AdamW)."""
    decay_norms: bool = True
    """Decay weights and biases of norm layers, too; without it no parameter of fewer than two dimensions decays, which
    leaves out the biases of all layers; LARS does not scale their steps then, either."""
    trust_coefficient: Annotated[float, Range(above=0, high=1)] = _TRUST
    """Of LARS: length of a scaled gradient as a share of its tensor's norm."""
    schedule: _Schedule = "step"
    """How the learning rate falls: not, by a factor at milestones, along a half cosine, or as cos(7/16 pi x)."""
    moves: _Moves = "epoch"
    """How often a rate that falls or warms up changes: once an epoch, or with every step."""
    milestones: tuple[Annotated[float, Range(above=0, below=1)], ...] = (0.52, 0.8)
    """Fractions of the stage's epochs at which "step" multiplies the rate by decay."""
    decay: Annotated[float, Range(above=0, high=1)] = 0.1
    """Factor of the "step" schedule."""
    minimum_lr: Annotated[float, Range(low=0)] = 0.0
    """Learning rate that "cosine" ends at, at most lr."""
    warmup_epochs: Annotated[int, Range(low=0)] = 0
    """Epochs in which the rate rises in equal parts to lr; cosines begin after them, milestones do not move."""
    warmup_steps: Annotated[int, Range(low=0)] = field(default=0, metadata=LATER)
    """The same in steps of the optimiser, instead of warmup_epochs; the rate rises with every step, whatever moves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.minimum_lr > self.lr:
            raise OptionError("minimum_lr", f"in [0, {self.lr:g}], the lr", str(self.minimum_lr), "lower it")
        if self.warmup_steps and self.warmup_epochs:
            got = f"{self.warmup_steps} beside warmup-epochs {self.warmup_epochs}"
            raise OptionError("warmup_steps", "0 with warmup-epochs", got, "leave one of them out")
        if self.name == "sgd" and self.nesterov and self.momentum == 0:
            raise OptionError("momentum", "> 0 with nesterov", "0", "pass --method.optimizer.no-nesterov")
        if self.name != "lars" and self.trust_coefficient != _TRUST:
            got = f"{self.trust_coefficient:g} with {self.name}"
            raise OptionError("trust_coefficient", "for lars only", got, "choose lars, or leave it out")

    def build(self, parameters: Iterable[nn.Parameter], *, rate: float = 1.0) -> Optimizer:
        """Return the optimiser over ``parameters``; torch groups its kernels (foreach) where the device allows.

        Args:
            parameters: at least one.
            rate: factor on the learning rate, which the schedule's minimum gets, too.
        """
        optimizer = self._build_optimizer(self._group_parameters(list(parameters)))
        if rate != 1:
            members = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            scale_rates(optimizer, dict.fromkeys(members, rate))
        return optimizer

    def _build_optimizer(self, groups: list[nn.Parameter] | list[dict[str, Any]]) -> Optimizer:
        """Return the optimiser over parameters or groups of them."""
        if self.name == "adamw":
            return torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay)
        if self.name == "lars":
            return Lars(
                groups,
                lr=self.lr,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                trust_coefficient=self.trust_coefficient,
            )
        return torch.optim.SGD(
            groups,
            lr=self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )

    def build_schedule(self, optimizer: Optimizer, *, num_epochs: int, steps_per_epoch: int = 1) -> LRScheduler:
        """Return the learning rate of ``optimizer`` over ``num_epochs``, to be stepped after every step.

        Milestones are rounded to whole epochs, at least one: the released OSSL recipe, 130 and 200 of 250 epochs, is
        ``milestones=(0.52, 0.8)``.

        Args:
            optimizer: whose rates are set.
            num_epochs: of the stage, >= 1.
            steps_per_epoch: updates in an epoch, >= 1.
        """
        return LearningRate(optimizer, self, num_epochs=num_epochs, steps_per_epoch=steps_per_epoch)

    def _group_parameters(self, parameters: list[nn.Parameter]) -> list[nn.Parameter] | list[dict[str, Any]]:
        """Return the parameters, or those that decay in one group and the others in a second."""
        if self.decay_norms:
            return parameters
        vectors = [parameter for parameter in parameters if parameter.ndim < 2]
        others = [parameter for parameter in parameters if parameter.ndim >= 2]
        excluded = {"weight_decay": 0.0, **({"adapts": False} if self.name == "lars" else {})}
        groups: list[dict[str, Any]] = [{"params": others}, {"params": vectors, **excluded}]
        return [group for group in groups if group["params"]]


class LearningRate(LRScheduler):
    """The learning rate as a function of the number of steps taken; stepped after every step.

    With ``x`` the number of steps (or, if the rate moves once an epoch, of whole epochs) since the warm-up, ``X`` all
    those after the warm-up, and ``lr`` the optimiser's first rate:

    * warm-up: the steps (epochs) k = 1, 2, ... of W have ``lr k / W``;
    * ``minimum_lr`` has the factor that a group's rate has (:func:`auxo.optimizers.rates.scale_rates`);
    * ``step``: ``lr decay^m`` after ``m`` milestones;
    * ``cosine``: ``minimum_lr + (lr - minimum_lr) (1 + cos(pi x / X)) / 2``
      (Loshchilov & Hutter, SGDR, ICLR 2017, Eq. 5, arXiv 1608.03983, without restarts);
    * ``fixmatch``: ``lr cos(7 pi x / (16 X))`` (Sohn et al., FixMatch, NeurIPS 2020, arXiv 2001.07685, section 2.3).

    Args:
        optimizer: whose rates are set.
        config: the schedule.
        num_epochs: of the stage, >= 1.
        steps_per_epoch: updates in an epoch, >= 1.
    """

    def __init__(
        self, optimizer: Optimizer, config: OptimizerConfig, *, num_epochs: int, steps_per_epoch: int = 1
    ) -> None:
        self.config = config
        self.steps_per_move = steps_per_epoch if config.moves == "epoch" else 1
        self.rates = [float(group.get(RATE, 1.0)) for group in optimizer.param_groups]
        moves_per_epoch = steps_per_epoch // self.steps_per_move
        self.num_moves = num_epochs * moves_per_epoch
        self.num_warmup = config.warmup_epochs * moves_per_epoch
        epochs = [max(1, round(m * num_epochs)) for m in config.milestones] if config.schedule == "step" else []
        self.milestones = Counter(epoch * moves_per_epoch for epoch in epochs)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Return the rate of each of the optimiser's groups for the next step."""
        pairs = zip(self.base_lrs, self.rates, strict=True)
        return [self._compute_rate(float(lr), self.last_epoch, rate) for lr, rate in pairs]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after as many steps as were taken, at the rate that a schedule of this length has there."""
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["_step_count"]
        rates = self.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = rates

    def rate_before(self, steps: int) -> float:
        """Return the rate of the first group so many steps before the next one, which itself is 0 before."""
        return self._compute_rate(float(self.base_lrs[0]), max(0, self.last_epoch - steps), self.rates[0])

    def _compute_rate(self, lr: float, step: int, rate: float) -> float:
        """Return what a first rate, which has the factor ``rate``, has become after ``step`` steps."""
        move, warmup = step // self.steps_per_move, self.config.warmup_steps / self.steps_per_move + self.num_warmup
        if step < self.config.warmup_steps:
            return lr * (step + 1) / self.config.warmup_steps
        if move < self.num_warmup:
            return lr * (move + 1) / self.num_warmup
        part = max(0.0, move - warmup) / max(1, self.num_moves - warmup)
        if self.config.schedule == "cosine":
            low = rate * self.config.minimum_lr
            return low + (lr - low) * (1 + math.cos(math.pi * part)) / 2
        if self.config.schedule == "fixmatch":
            return lr * math.cos(7 * math.pi * part / 16)
        for milestone, count in sorted(self.milestones.items()):
            if move >= milestone:
                lr *= self.config.decay**count
        return lr
