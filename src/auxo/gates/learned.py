"""A linear gate that learns with the network, guarded against choosing the easiest task."""

from dataclasses import dataclass
from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep
from auxo.gates._softmax import GateForm, GateInit, check_choice, gate_layer, relative_losses, softmax_loss
from auxo.options import Range

SOURCE = (
    "What the abstract of Ruslim, Yudistira, Setiawan, Mixture of Self-Supervised Learning (arXiv 2307.14897), says: "
    "the model learns the weights of the tasks. The layer is that of the released code "
    "(github.com/aristorenaldo/G-SSL); that its weights keep their gradient, the division of each loss by that of "
    "guessing, and the bonus for entropy are ours: without them the gate follows the smallest loss."
)


class LearnedGate(AbstractGate):
    r"""Softmax of a linear layer on the features, trained on the loss it weights.

    With weights ``w``, mean losses ``L_t`` over ``K_t`` answers and the entropy ``H``,

    .. math:: \sum_t w_t \frac{L_t}{\ln K_t} - \eta H(w) .

    The gradient in ``w_t`` is the loss of task ``t``: a gate that learns this way leaves hard tasks for easy ones. At
    fixed losses the optimum is ``w_t`` proportional to ``exp(-L_t / (eta ln K_t))``: with ``eta`` = 0 the easiest task
    alone remains. While no task is worse than guessing, no optimal weight is below ``1 / (1 + (M - 1) exp(1/eta))``:
    0.155 of three tasks at ``eta`` = 1, 0.00002 at 0.1.

    Args:
        config: options.
        num_features: length of the pooled vector.
        num_outputs: of each task, the number of answers ``K_t``; at least two tasks.
        seed: the run's seed.

    Raises:
        ConfigError: fewer than two tasks, which leave nothing to choose.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of the learned gate."""

        form: GateForm = "mean_of_softmax"
        """The mean of the samples' weights, the weights of the mean logits, or each sample its own."""
        init: GateInit = "default"
        """First weights of the layer: torch's of a linear layer, or Kaiming-normal (released, long-tailed)."""
        normalise_losses: bool = True
        """Divide each loss by that of guessing, so that an easy task is not favoured."""
        entropy: Annotated[float, Range(low=0)] = 1.0
        """Bonus for the weights' entropy; near 0 the easiest task alone remains."""

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "LearnedGate":
            """Return the gate."""
            return LearnedGate(self, num_features, num_outputs, seed=seed)

    def __init__(self, config: Config, num_features: int, num_outputs: tuple[int, ...], *, seed: int) -> None:
        super().__init__()
        check_choice("learned", len(num_outputs))
        self.config = config
        self.num_outputs = num_outputs
        self.layer = gate_layer(num_features, len(num_outputs), init=config.init, seed=seed)

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss at weights that keep their gradient, in the layer and in the features."""
        logits = self.layer(features.to(self.layer.weight.dtype))
        if self.config.normalise_losses:
            losses = relative_losses(losses, self.num_outputs)
        form, entropy = self.config.form, self.config.entropy
        return softmax_loss(losses, logits, form=form, entropy=entropy, batch=step.batch, runtime=step.runtime)
