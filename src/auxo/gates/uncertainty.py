"""Each task weighted by the noise that it is learned to have (homoscedastic uncertainty)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep

SOURCE = (
    "Kendall, Gal, Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics, "
    "CVPR 2018 (arXiv 1705.07115): for classification exp(-s) L + s/2 with s the logarithm of a learned variance, "
    "which starts at 0. Ours: the mean over the tasks instead of the sum, so that all gates begin at 1/M."
)


class UncertaintyGate(AbstractGate):
    r"""Weights :math:`e^{-s_t}/M` of the loss :math:`\frac1M \sum_t e^{-s_t} L_t + s_t/2`.

    At fixed losses the optimum is ``exp(s_t) = 2 L_t``: the weight is ``1 / (2 M L_t)``, so every task contributes the
    same, and the weights need not sum to 1. An optimiser's weight decay pulls ``s_t`` to 0.

    Args:
        num_tasks: losses to weight.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """No options."""

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "UncertaintyGate":
            """Return the gate."""
            del num_features, seed  # the variances start at 1
            return UncertaintyGate(len(num_outputs))

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.log_variances = nn.Parameter(torch.zeros(num_tasks))

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss with the gradient in the variances."""
        del features  # the features have no say, and the loss is linear in the means over the samples
        weights = torch.exp(-self.log_variances) / len(self.log_variances)
        weighted = step.batch.mean((losses * weights).sum(1))
        return GateResult(weighted + self.log_variances.mean() / 2, weights.detach())
