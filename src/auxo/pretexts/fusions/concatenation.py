"""Put the encoders' projections one after the other, under one linear head."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.pretexts.fusions._interface import EncoderShapes
from auxo.pretexts.fusions._mixture import AbstractMixture, Mixed, MixtureConfig

SOURCE = "A baseline: nothing is selected, and the head sees K times the width."


class Concatenation(AbstractMixture):
    """The encoders' projections one after the other."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MixtureConfig):
        """Options of concatenation."""

        def build(self, shapes: EncoderShapes) -> "Concatenation":
            """Return the fusion."""
            return Concatenation(self, shapes)

    def count_features(self, width: int, num_encoders: int) -> int:
        """Return the widths of all."""
        return width * num_encoders

    def mix(
        self, level: int, values: Float[Tensor, "batch encoders width"], own: Float[Tensor, "batch _"] | None
    ) -> Mixed:
        """Return all values."""
        del level, own
        return Mixed(values.flatten(1))
