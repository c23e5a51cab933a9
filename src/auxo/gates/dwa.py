"""Weights by how slowly each loss fell from the epoch before last to the last one (Dynamic Weight Average)."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep
from auxo.options import Range

SOURCE = (
    "Liu, Johns, Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019 (arXiv 1803.10704), Dynamic Weight "
    "Average: K softmax(r / T) with r the ratio of the mean losses of the last two epochs, T = 2, and equal weights in "
    "the first two epochs; checked against the rendering in the released baselines of AuxiLearn "
    "(github.com/AvivNavon/AuxiLearn). Ours: softmax without the factor K, so that all gates begin at 1/M, and a loss "
    "below 1e-7 counts as 1e-7 in the denominator."
)

_SMALLEST = 1e-7  # a task that was learned to nothing leaves the ratio finite


class DWAGate(AbstractGate):
    r"""Weights :math:`\mathrm{softmax}(r / T)` with :math:`r_t = \bar L_t(e - 1) / \bar L_t(e - 2)` in epoch e.

    The mean losses are those of all steps of an epoch. A task whose loss falls more slowly than others', or rises, gets
    more weight; how large the losses are is of no account. Weights change once an epoch.

    Args:
        config: options.
        num_tasks: losses to weight.

    Cost: M numbers are averaged over the processes at every step.
    """

    epoch: Tensor
    num_steps: Tensor
    num_epochs: Tensor
    mean: Tensor
    last: Tensor
    before_last: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of the dynamic weight average."""

        temperature: Annotated[float, Range(above=0)] = 2.0
        """What the ratios are divided by; the higher, the more equal the weights."""

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "DWAGate":
            """Return the gate."""
            del num_features, seed  # nothing is drawn
            return DWAGate(self, len(num_outputs))

    def __init__(self, config: Config, num_tasks: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        for name in ("epoch", "num_steps", "num_epochs"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        for name in ("mean", "last", "before_last"):
            self.register_buffer(name, torch.zeros(num_tasks))

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss at weights that stay the same for an epoch."""
        del features  # they have no say
        if step.learns:
            self._follow_losses(losses.detach(), step)
        weights = self._find_weights().to(losses)
        return GateResult(step.batch.mean((losses * weights).sum(1)), weights)

    def _find_weights(self) -> Float[Tensor, " tasks"]:
        """Return this epoch's weights."""
        if self.num_epochs < 2:
            return torch.full_like(self.last, 1 / len(self.last))
        ratios = self.last / self.before_last.clamp_min(_SMALLEST)
        return (ratios / self.temperature).softmax(0)

    def _follow_losses(self, losses: Float[Tensor, "samples tasks"], step: GateStep) -> None:
        """Take a step's losses into the mean of its epoch; the first step of an epoch ends the one before."""
        if step.epoch != int(self.epoch):
            if self.num_steps > 0:
                self.before_last.copy_(self.last)
                self.last.copy_(self.mean)
                self.num_epochs += 1
            self.epoch.fill_(step.epoch)
            self.num_steps.zero_()
        self.num_steps += 1
        # A running mean: the losses of an epoch need not be kept, and a checkpoint within it has all there is to know.
        joined = step.runtime.mean_of(losses.mean(0) * step.batch.share)
        if int(self.num_steps) == 1:
            self.mean.copy_(joined)
        else:
            self.mean.lerp_(joined.to(self.mean), 1 / int(self.num_steps))
