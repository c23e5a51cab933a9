"""A linear gate at its random first weights: what the released code of G-SSL does."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep
from auxo.gates._softmax import GateForm, GateInit, gate_layer, softmax_loss

SOURCE = (
    "The released code of Ruslim, Yudistira, Setiawan, Mixture of Self-Supervised Learning (arXiv 2307.14897; "
    "github.com/aristorenaldo/G-SSL), literally: a linear layer on the pooled features, softmax, and each weight "
    "turned into a number (.item()) before it multiplies its loss. No gradient reaches the layer, so it keeps its "
    "random first weights, and weight decay does not touch it; the weights of the losses move only as the features "
    "do. Of the paper only the abstract and a figure could be read; the abstract has the model learn the weights. "
    "mean_of_softmax is the form of its adversarial and Tiny-ImageNet scripts, softmax_of_mean with kaiming first "
    "weights that of its long-tailed scripts; per_sample is ours."
)


class FrozenGate(AbstractGate):
    """Softmax of a linear layer that never learns.

    Args:
        config: options.
        num_features: length of the pooled vector.
        num_tasks: losses to weight.
        seed: the run's seed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of the gate at its random first weights."""

        form: GateForm = "mean_of_softmax"
        """The mean of the samples' weights, the weights of the mean logits, or each sample its own."""
        init: GateInit = "default"
        """First, and last, weights: torch's of a linear layer, or Kaiming-normal (released, long-tailed)."""

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "FrozenGate":
            """Return the gate."""
            return FrozenGate(self, num_features, len(num_outputs), seed=seed)

    def __init__(self, config: Config, num_features: int, num_tasks: int, *, seed: int) -> None:
        super().__init__()
        self.form = config.form
        self.layer = gate_layer(num_features, num_tasks, init=config.init, seed=seed)

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss at weights without a gradient."""
        logits = self.layer(features.detach().to(self.layer.weight.dtype)).detach()
        return softmax_loss(losses, logits, form=self.form, entropy=0.0, batch=step.batch, runtime=step.runtime)

    def frozen_parameters(self) -> dict[str, str]:
        """Return the whole layer."""
        reason = "the released gate takes its weights as numbers, so no gradient reaches it"
        return {"layer.weight": reason, "layer.bias": reason}
