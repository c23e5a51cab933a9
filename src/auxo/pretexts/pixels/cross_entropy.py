"""Tell the label of every pixel: what the contrast of pixels is to be compared with."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from auxo.errors import ConfigError
from auxo.interfaces import PretextLoss
from auxo.layers.heads import linear_head
from auxo.pretexts._projector import in_float32
from auxo.pretexts.pixels._interface import NOT_SHARED, AbstractPixelObjective, PixelObjectiveConfig
from auxo.pretexts.pixels._sampling import shrink_labels
from auxo.random import Draws
from auxo.runtime import Runtime
from auxo.types import Batch

SOURCE = (
    "Ours as a baseline of the contrast: the same auxiliary labels as classes. On labels of a network that was trained "
    "on few labelled images it is self-training (Lee, Pseudo-Label, ICML 2013 workshop)."
)


class CrossEntropy(AbstractPixelObjective):
    """A linear classifier of single pixels, and the mean of its cross-entropy over all pixels that have a label.

    Args:
        num_channels: of the features.
        num_labels: labels are below it.
        seed: the run's seed; first weights come from the stream ``init/pixel_label``.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PixelObjectiveConfig):
        """Cross-entropy has no options."""

        def build(self, num_channels: int, *, num_labels: int | None, seed: int) -> "CrossEntropy":
            """See :meth:`PixelObjectiveConfig.build`."""
            if num_labels is None:
                fix = "choose another labeller, or the objective contrast"
                raise ConfigError("labels that images share for the objective cross_entropy", NOT_SHARED, fix)
            return CrossEntropy(num_channels, num_labels, seed=seed)

    def __init__(self, num_channels: int, num_labels: int, *, seed: int) -> None:
        super().__init__()
        self.classifier = linear_head("pixel_label", num_channels, num_labels, seed=seed)

    def forward(
        self,
        features: Float[Tensor, "batch channels _ _"],
        labels: Int[Tensor, "batch height width"],
        *,
        batch: Batch,
        draws: Draws,
        runtime: Runtime,
    ) -> PretextLoss:
        """See :meth:`AbstractPixelObjective.forward`; ``embeddings`` are ``None``."""
        del batch, draws
        known = shrink_labels(labels, (features.shape[2], features.shape[3])).long().clamp_min(-1)
        with runtime.autocast():
            logits = self.classifier(features.movedim(1, -1))
        with torch.autocast(logits.device.type, enabled=False):
            flat = in_float32(logits).flatten(0, 2)
            total = functional.cross_entropy(flat, known.flatten(), ignore_index=-1, reduction="sum")
            count = runtime.sum((known >= 0).sum()).clamp_min(1)
            return PretextLoss(total * runtime.num_processes / count)
