"""What fusions share in which a network of the run learns labels and to be like the encoders, and predicts alone."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.layers.heads import linear_head
from auxo.options import Range
from auxo.pretexts.fusions._interface import AbstractFusion, EncoderShapes, Fused, FusionConfig, FusionStep


@dataclass(frozen=True, kw_only=True)
class MatchingConfig(FusionConfig):
    """Options of matching."""

    strength: Annotated[float, Range(low=0)] = 1.0
    """Weight of the mean distance to the encoders beside the loss of the labels."""
    weighting: Literal["equal", "uncertainty"] = "equal"
    """Weigh the encoders alike, or by learned noises: ``exp(-s_k) d_k + s_k``, after Kendall et al. (arXiv
    1705.07115)."""

    @property
    def reads_own(self) -> bool:
        """The run's own network is what is trained."""
        return True


class AbstractMatching(AbstractFusion):
    """A linear head on the run's own network, which is drawn to the encoders while it learns the labels.

    Args:
        config: options.
        shapes: of the encoders and of the network.
    """

    predicts_alone = True

    def __init__(self, config: MatchingConfig, shapes: EncoderShapes) -> None:
        super().__init__()
        self.strength = config.strength
        self.semantic = linear_head("semantic", shapes.own_features, shapes.num_outputs, seed=shapes.seed)
        learns_noises = config.weighting == "uncertainty"
        self.noises = nn.Parameter(torch.zeros(len(shapes.names))) if learns_noises else None

    @abstractmethod
    def measure_distances(self, own: Float[Tensor, "batch _"], step: FusionStep) -> Float[Tensor, "batch encoders"]:
        """Return how far the network is from each encoder at each image, attached to the graph."""

    def forward(self, parts: Sequence[Float[Tensor, "batch _"]], own: Float[Tensor, "batch _"] | None = None) -> Fused:
        """Return the logits of the network alone."""
        del parts
        if own is None:
            raise ValueError("expected features of the run's own network, got none: pass own")
        return Fused(self.semantic(own))

    def further_losses(self, fused: Fused, step: FusionStep) -> Mapping[str, Float[Tensor, ""]]:
        """Return ``matching_loss``."""
        del fused
        if step.own is None or not self.strength:
            return {}
        distances = self.measure_distances(step.own, step)
        if self.noises is not None:
            distances = torch.exp(-self.noises) * distances + self.noises
        return {"matching_loss": self.strength * step.batch.mean(distances.mean(1))}
