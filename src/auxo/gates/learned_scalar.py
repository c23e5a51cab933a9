"""One free logit for each task, learned with the network; the features have no say."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep
from auxo.gates._softmax import check_choice, relative_losses, softmax_loss
from auxo.options import Range

SOURCE = (
    "Ours: the gate learned without its features, to tell what they add. Softmax of M free logits, which start at 0, "
    "with the same guard against the easiest task."
)


class LearnedScalarGate(AbstractGate):
    r"""Softmax of M logits, trained on :math:`\sum_t w_t L_t / \ln K_t - \eta H(w)`; see :class:`.learned.LearnedGate`.

    Args:
        config: options.
        num_outputs: of each task, the number of answers ``K_t``; at least two tasks.

    Raises:
        ConfigError: fewer than two tasks, which leave nothing to choose.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of the learned logits."""

        normalise_losses: bool = True
        """Divide each loss by that of guessing, so that an easy task is not favoured."""
        entropy: Annotated[float, Range(low=0)] = 1.0
        """Bonus for the weights' entropy; near 0 the easiest task alone remains."""

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "LearnedScalarGate":
            """Return the gate."""
            del num_features, seed  # the logits start at 0
            return LearnedScalarGate(self, num_outputs)

    def __init__(self, config: Config, num_outputs: tuple[int, ...]) -> None:
        super().__init__()
        check_choice("learned_scalar", len(num_outputs))
        self.config = config
        self.num_outputs = num_outputs
        self.logits = nn.Parameter(torch.zeros(len(num_outputs)))

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss at weights that keep their gradient in the logits."""
        del features  # they have no say
        logits = self.logits.expand(len(losses), -1)
        if self.config.normalise_losses:
            losses = relative_losses(losses, self.num_outputs)
        entropy = self.config.entropy
        return softmax_loss(
            losses, logits, form="softmax_of_mean", entropy=entropy, batch=step.batch, runtime=step.runtime
        )
