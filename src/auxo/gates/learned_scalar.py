"""One free logit for each task, learned with the network; the features have no say."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult
from auxo.gates._softmax import check_choice, relative_losses, softmax_loss
from auxo.runtime import Runtime
from auxo.types import Batch

SOURCE = (
    "Ours: the gate learned without its features, to tell what they add. Softmax of M free logits, which start at 0, "
    "with the same guard against the easiest task."
)


class LearnedScalarGate(AbstractGate):
    r"""Softmax of M logits, trained on :math:`\sum_t w_t L_t / \ln K_t - \eta H(w)`; see :class:`.learned.LearnedGate`.

    Args:
        num_outputs: of each task, the number of answers ``K_t``; at least two tasks.
        normalise_losses: divide by ``ln K_t``, so that guessing costs 1 at every task.
        entropy: ``eta``, >= 0.

    Raises:
        ConfigError: fewer than two tasks, which leave nothing to choose.
    """

    def __init__(self, num_outputs: tuple[int, ...], *, normalise_losses: bool = True, entropy: float = 1.0) -> None:
        super().__init__()
        check_choice("learned_scalar", len(num_outputs))
        self.entropy = entropy
        self.num_outputs = num_outputs
        self.normalise_losses = normalise_losses
        self.logits = nn.Parameter(torch.zeros(len(num_outputs)))

    def forward(
        self,
        losses: Float[Tensor, "samples tasks"],
        features: Float[Tensor, "samples dim"],
        *,
        batch: Batch,
        runtime: Runtime,
    ) -> GateResult:
        """Return the loss at weights that keep their gradient in the logits."""
        del features  # they have no say
        logits = self.logits.expand(len(losses), -1)
        if self.normalise_losses:
            losses = relative_losses(losses, self.num_outputs)
        return softmax_loss(losses, logits, form="softmax_of_mean", entropy=self.entropy, batch=batch, runtime=runtime)


def build(config: GateConfig, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> LearnedScalarGate:
    """Return the gate; reads ``normalise_losses`` and ``entropy``."""
    del num_features, seed  # the logits start at 0
    return LearnedScalarGate(num_outputs, normalise_losses=config.normalise_losses, entropy=config.entropy)
