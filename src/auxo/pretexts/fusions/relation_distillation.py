"""Train a network on the labels and to find alike the images that the encoders find alike."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from auxo.pretexts._pairs import gather_from
from auxo.pretexts.fusions._interface import EncoderShapes, FusionStep
from auxo.pretexts.fusions._matching import AbstractMatching, MatchingConfig

SOURCE = (
    "A baseline of the family that the abstract of Yao et al., arXiv 2204.05248, calls pretext-matching. After Park, "
    "Kim, Lu, Cho, Relational Knowledge Distillation, CVPR 2019 (arXiv 1904.05068), and Tung, Mori, "
    "Similarity-Preserving Knowledge Distillation, ICCV 2019 (arXiv 1907.09682), neither of which was checked against "
    "its text: the relation here is the cosine of two images' features, its distance the squared difference."
)


class RelationDistillation(AbstractMatching):
    """Adds the mean squared difference of the cosines between images, in the network and in each encoder."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MatchingConfig):
        """Options of matching relations."""

        def build(self, shapes: EncoderShapes) -> "RelationDistillation":
            """Return the fusion."""
            return RelationDistillation(self, shapes)

    def measure_distances(self, own: Float[Tensor, "batch _"], step: FusionStep) -> Float[Tensor, "batch encoders"]:
        """Return the mean over the joined batch of an image's squared differences.

        Raises:
            ShapeError: the batch has a single image.
        """
        gather = gather_from(step.runtime, step.batch)
        cosines = []
        for rows in (own, *step.parts):
            directions = functional.normalize(rows, dim=1)
            cosines.append(directions @ gather(directions).T)
        first, *others = cosines
        return torch.stack([(first - other).square().mean(1) for other in others], 1)
