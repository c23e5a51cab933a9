"""Give every encoder a head of its own, and predict by the mean of their probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.layers.heads import linear_head
from auxo.pretexts.fusions._interface import AbstractFusion, EncoderShapes, Fused, FusionConfig

SOURCE = (
    "A baseline: one linear probe for each encoder, trained apart from the others; their probabilities are averaged."
)


class LogitEnsemble(AbstractFusion):
    """A linear head on each encoder's features; what predicts is the logarithm of their mean probability.

    Each head learns the labels by a loss of its own.

    Args:
        shapes: of the encoders.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(FusionConfig):
        """An ensemble has no options."""

        def build(self, shapes: EncoderShapes) -> "LogitEnsemble":
            """Return the fusion."""
            return LogitEnsemble(shapes)

    def __init__(self, shapes: EncoderShapes) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {
                name: linear_head(f"semantic/{name}", total, shapes.num_outputs, seed=shapes.seed)
                for name, total in zip(shapes.names, shapes.totals, strict=True)
            }
        )

    def forward(self, parts: Sequence[Float[Tensor, "batch _"]], own: Float[Tensor, "batch _"] | None = None) -> Fused:
        """Return the logarithm of the mean probability, and the logits of every head, which learn."""
        del own
        each = tuple(head(part) for head, part in zip(self.heads.values(), parts, strict=True))
        # Probabilities are averaged in logarithms, which do not vanish.
        logs = torch.stack([logits.float() for logits in each]).log_softmax(2)
        return Fused(logs.logsumexp(0) - math.log(len(each)), learning=each)
