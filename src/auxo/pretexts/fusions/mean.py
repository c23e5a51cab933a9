"""Take the mean of the encoders: attention in which all weights are equal."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.pretexts.fusions._interface import EncoderShapes
from auxo.pretexts.fusions._mixture import AbstractMixture, Mixed, MixtureConfig

SOURCE = "A baseline: the mean of the projections, which is attention at an infinite temperature."


class Mean(AbstractMixture):
    """The mean of the encoders' projections."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MixtureConfig):
        """Options of the mean."""

        def build(self, shapes: EncoderShapes) -> "Mean":
            """Return the fusion."""
            return Mean(self, shapes)

    def mix(
        self, level: int, values: Float[Tensor, "batch encoders width"], own: Float[Tensor, "batch _"] | None
    ) -> Mixed:
        """Return the mean."""
        del level, own
        return Mixed(values.mean(1))
