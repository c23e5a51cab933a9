"""Train a network on the labels and to predict the features of all encoders: what attention is to be compared with."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.layers.heads import linear_head
from auxo.pretexts.fusions._interface import EncoderShapes, FusionStep
from auxo.pretexts.fusions._matching import AbstractMatching, MatchingConfig

SOURCE = (
    "A baseline of the family that the abstract of Yao et al., arXiv 2204.05248, calls pretext-matching; which methods "
    "that are could not be read. The form is that of hints, Romero et al., FitNets, ICLR 2015 (arXiv 1412.6550), with "
    "linear regressors."
)


class FeatureMatching(AbstractMatching):
    """Adds ``|A_k f(x) - z_k|^2 / d_k``, with a linear layer for each encoder, to the loss of the labels.

    Args:
        config: options.
        shapes: of the encoders and of the network.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MatchingConfig):
        """Options of matching features."""

        def build(self, shapes: EncoderShapes) -> "FeatureMatching":
            """Return the fusion."""
            return FeatureMatching(self, shapes)

    def __init__(self, config: Config, shapes: EncoderShapes) -> None:
        super().__init__(config, shapes)
        self.regressors = nn.ModuleDict(
            {
                name: linear_head(f"match/{name}", shapes.own_features, total, seed=shapes.seed)
                for name, total in zip(shapes.names, shapes.totals, strict=True)
            }
        )

    def measure_distances(self, own: Float[Tensor, "batch _"], step: FusionStep) -> Float[Tensor, "batch encoders"]:
        """Return the mean squared errors."""
        pairs = zip(self.regressors.values(), step.parts, strict=True)
        return torch.stack([(regressor(own) - part).square().mean(1) for regressor, part in pairs], 1)
