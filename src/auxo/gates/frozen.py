"""A linear gate at its random first weights: what the released code of G-SSL does."""

from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig, GateForm, GateInit
from auxo.gates._interface import AbstractGate, GateResult
from auxo.gates._softmax import gate_layer, softmax_loss
from auxo.runtime import Runtime
from auxo.types import Batch

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
        num_features: length of the pooled vector.
        num_tasks: losses to weight.
        form: which weights; see :class:`auxo.gates.GateConfig`.
        init: first, and last, weights of the layer.
        seed: the run's seed.
    """

    def __init__(self, num_features: int, num_tasks: int, *, form: GateForm, init: GateInit, seed: int) -> None:
        super().__init__()
        self.form = form
        self.layer = gate_layer(num_features, num_tasks, init=init, seed=seed)

    def forward(
        self,
        losses: Float[Tensor, "samples tasks"],
        features: Float[Tensor, "samples dim"],
        *,
        batch: Batch,
        runtime: Runtime,
    ) -> GateResult:
        """Return the loss at weights without a gradient."""
        logits = self.layer(features.detach().to(self.layer.weight.dtype)).detach()
        return softmax_loss(losses, logits, form=self.form, entropy=0.0, batch=batch, runtime=runtime)

    def frozen_parameters(self) -> dict[str, str]:
        """Return the whole layer."""
        reason = "the released gate takes its weights as numbers, so no gradient reaches it"
        return {"layer.weight": reason, "layer.bias": reason}


def build(config: GateConfig, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> FrozenGate:
    """Return the gate; reads ``form`` and ``init``."""
    return FrozenGate(num_features, len(num_outputs), form=config.form, init=config.init, seed=seed)
