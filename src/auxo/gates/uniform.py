"""Every task counts alike."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep

SOURCE = (
    "The mean of the losses: the control of every gate. The release of G-SSL (github.com/aristorenaldo/G-SSL) without "
    "a gate sums the losses instead, M times as much."
)


class UniformGate(AbstractGate):
    """Weights 1/M; no parameters."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """No options."""

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "UniformGate":
            """Return the gate."""
            del num_features, num_outputs, seed  # there are as many tasks as losses
            return UniformGate()

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the mean loss over samples and tasks."""
        del features  # the weights are the same for all features
        count = losses.shape[1]
        return GateResult(step.batch.mean(losses.mean(1)), losses.new_full((count,), 1 / count))
