"""A linear gate that learns with the network, guarded against choosing the easiest task."""

from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig, GateForm, GateInit
from auxo.gates._interface import AbstractGate, GateResult
from auxo.gates._softmax import check_choice, gate_layer, relative_losses, softmax_loss
from auxo.runtime import Runtime
from auxo.types import Batch

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
        num_features: length of the pooled vector.
        num_outputs: of each task, the number of answers ``K_t``; at least two tasks.
        form: which weights; see :class:`auxo.gates.GateConfig`.
        init: first weights of the layer.
        normalise_losses: divide by ``ln K_t``, so that guessing costs 1 at every task.
        entropy: ``eta``, >= 0.
        seed: the run's seed.

    Raises:
        ConfigError: fewer than two tasks, which leave nothing to choose.
    """

    def __init__(
        self,
        num_features: int,
        num_outputs: tuple[int, ...],
        *,
        form: GateForm = "mean_of_softmax",
        init: GateInit = "default",
        normalise_losses: bool = True,
        entropy: float = 1.0,
        seed: int,
    ) -> None:
        super().__init__()
        check_choice("learned", len(num_outputs))
        self.form = form
        self.entropy = entropy
        self.num_outputs = num_outputs
        self.normalise_losses = normalise_losses
        self.layer = gate_layer(num_features, len(num_outputs), init=init, seed=seed)

    def forward(
        self,
        losses: Float[Tensor, "samples tasks"],
        features: Float[Tensor, "samples dim"],
        *,
        batch: Batch,
        runtime: Runtime,
    ) -> GateResult:
        """Return the loss at weights that keep their gradient, in the layer and in the features."""
        logits = self.layer(features.to(self.layer.weight.dtype))
        if self.normalise_losses:
            losses = relative_losses(losses, self.num_outputs)
        return softmax_loss(losses, logits, form=self.form, entropy=self.entropy, batch=batch, runtime=runtime)


def build(config: GateConfig, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> LearnedGate:
    """Return the gate; reads ``form``, ``init``, ``normalise_losses`` and ``entropy``."""
    return LearnedGate(
        num_features,
        num_outputs,
        form=config.form,
        init=config.init,
        normalise_losses=config.normalise_losses,
        entropy=config.entropy,
        seed=seed,
    )
