"""A gate in one file outside auxo: one option beside the uniform gate's none."""

from dataclasses import dataclass

from auxo.gates import GateConfig
from auxo.gates.uniform import UniformGate


class Mine(UniformGate):
    """Weighs as the uniform gate does."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """One option."""

        push: float = 1.0

        def build(self, *, num_features, num_outputs, seed):
            """Return the gate."""
            return Mine()
