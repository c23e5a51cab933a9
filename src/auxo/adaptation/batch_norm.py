"""Batch norm normalises by a mixture of its own statistics and those of the target images; no gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from auxo.adaptation._classes import doubt_classes
from auxo.adaptation._interface import AdaptationConfig, Setting
from auxo.adaptation._statistics import mix_target, require_batch_norms
from auxo.options import Range

SOURCE = """\
Schneider, Rusak, Eck, Bringmann, Brendel & Bethge, Improving robustness against common corruptions by covariate shift
adaptation, NeurIPS 2020 (https://arxiv.org/abs/2006.16971): mean and variance of every layer are mixed with those
of the target, n target images counting against N pseudo-images of the source; a weight of one half is N = n.
Nado et al., Evaluating Prediction-Time Batch Normalization for Robustness under Covariate Shift, 2020
(https://arxiv.org/abs/2006.10963) take the target's alone, a weight of one. Ours: all target images, or 500 of them,
are one batch, and what is found is stored, so that the network answers one image as it answers many.
"""


@dataclass(frozen=True, kw_only=True)
class BatchNormAdaptation(AdaptationConfig):
    """How statistics are mixed."""

    mixing: Annotated[float, Range(low=0, high=1)] = 0.5
    """Weight of the target's statistics; 0 leaves the network as it is, 1 forgets the source's."""
    images: Annotated[int, Range(low=2)] = 500
    """Images that the statistics are of, at most, chosen by their contents. All pass through the network at once, which
    takes about two times the memory of its largest layer."""
    check: bool = True
    """Keep the network only if its predictions fit the class proportions of training as well as before (COT)."""

    @property
    def is_checked(self) -> bool:
        """Whether it is checked, as the option says."""
        return self.check

    def require(self, setting: Setting) -> None:
        """Refuse a network without batch norm."""
        require_batch_norms(setting)

    def find_doubts(self, setting: Setting) -> list[str]:
        """Return that images are few, and that predicted classes are far from their proportions in training."""
        return [*super().find_doubts(setting), *doubt_classes(setting, mixing=self.mixing, images=self.images)]

    def adapt(self, setting: Setting) -> Mapping[str, float | int]:
        """Mix the statistics of all layers that the images pass through."""
        return mix_target(setting, mixing=self.mixing, images=self.images)
