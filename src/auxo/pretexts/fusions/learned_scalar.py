"""Add the encoders up, each at a number that is learned: of any sign and size, the same for all images."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.pretexts.fusions._interface import EncoderShapes
from auxo.pretexts.fusions._mixture import AbstractMixture, Mixed, MixtureConfig

SOURCE = "A baseline: a weight for each encoder that no image changes and no softmax bounds; static attention has one."


class LearnedScalar(AbstractMixture):
    """The sum of the encoders' projections at learned weights that start at 1/K; told is each one's part in size.

    Args:
        config: options.
        shapes: of the encoders.
    """

    weighs = True

    @dataclass(frozen=True, kw_only=True)
    class Config(MixtureConfig):
        """Options of learned weights."""

        def build(self, shapes: EncoderShapes) -> "LearnedScalar":
            """Return the fusion."""
            return LearnedScalar(self, shapes)

    def __init__(self, config: Config, shapes: EncoderShapes) -> None:
        super().__init__(config, shapes)
        count = len(shapes.names)
        self.scalars = nn.Parameter(torch.full((len(shapes.widths[0]), count), 1 / count))

    def mix(
        self, level: int, values: Float[Tensor, "batch encoders width"], own: Float[Tensor, "batch _"] | None
    ) -> Mixed:
        """Return the sum, and the parts of the weights' sizes."""
        del own
        scalars = self.scalars[level]
        sizes = scalars.abs()  # a scalar may be negative, a share may not
        shares = sizes / sizes.sum().clamp_min(torch.finfo(sizes.dtype).tiny)
        return Mixed(torch.einsum("k,bkd->bd", scalars, values), shares.expand(values.shape[0], 1, -1))
