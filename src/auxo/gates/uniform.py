"""Every task counts alike."""

from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult
from auxo.runtime import Runtime
from auxo.types import Batch

__all__ = ["SOURCE", "UniformGate", "build"]

SOURCE = (
    "The mean of the losses: the control of every gate. The release of G-SSL (github.com/aristorenaldo/G-SSL) without "
    "a gate sums the losses instead, M times as much."
)


class UniformGate(AbstractGate):
    """Weights 1/M; no parameters."""

    def forward(
        self,
        losses: Float[Tensor, "samples tasks"],
        features: Float[Tensor, "samples dim"],  # noqa: ARG002  # the weights are the same for all features
        *,
        batch: Batch,
        runtime: Runtime,  # noqa: ARG002  # nothing to average
    ) -> GateResult:
        """Return the mean loss over samples and tasks."""
        count = losses.shape[1]
        return GateResult(batch.mean(losses.mean(1)), losses.new_full((count,), 1 / count))


def build(
    config: GateConfig,  # noqa: ARG001  # no option is read
    *,
    num_features: int,  # noqa: ARG001  # no weights
    num_outputs: tuple[int, ...],  # noqa: ARG001  # as many tasks as there are losses
    seed: int,  # noqa: ARG001  # nothing is drawn
) -> UniformGate:
    """Return the gate."""
    return UniformGate()
