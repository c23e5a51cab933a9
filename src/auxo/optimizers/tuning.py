"""How a stage moves its weights, beside its method's optimisers: what people ask for when they fine-tune."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated

from auxo.options import LATER, Options, Range

LOOKED_THROUGH: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("accumulate", "clip_norm", "freeze_epochs", "backbone_rate", "layer_decay"),
        "a second level looks through the step that this would change",
    )
)
"""What a method of two levels refuses whose second one differentiates a step of the first."""


@dataclass(frozen=True, kw_only=True)
class TuningConfig(Options):
    """How weights move, whatever the method; by default as its optimiser alone says."""

    backbone_rate: Annotated[float, Range(above=0)] = field(default=1.0, metadata=LATER)
    """Factor on the learning rate of the backbone, beside heads and whatever else is trained."""
    layer_decay: Annotated[float, Range(above=0, high=1)] = field(default=1.0, metadata=LATER)
    """Layer-wise decay of the learning rate: layer l of the backbone's L, from 0 at the image, has this to the power of
    L - l as a factor, and heads 1. 0.65 to 0.9 are usual where a network is pretrained; 1 has none."""
    freeze_epochs: Annotated[int, Range(low=0)] = field(default=0, metadata=LATER)
    """Epochs in which the backbone stays as it is, its batch norm too, and the rest learns on top of it; then,
    in a stage of more epochs, all learns."""
    label_smoothing: Annotated[float, Range(low=0, below=1)] = field(default=0.0, metadata=LATER)
    """Part of each label's weight that is shared out evenly among all classes, in the loss of the classes."""
    mixup: Annotated[float, Range(low=0)] = field(default=0.0, metadata=LATER)
    """MixUp: parameter a of Beta(a, a), by which pairs of training images and their labels are mixed; 0.1 to 0.8 are
    usual, 0 is none."""
    cutmix: Annotated[float, Range(low=0)] = field(default=0.0, metadata=LATER)
    """CutMix: parameter a of Beta(a, a) of the area of a rectangle that is taken from another image, as is so much of
    its label; 1 is usual, 0 is none."""
    clip_norm: Annotated[float | None, Range(above=0)] = field(default=None, metadata=LATER)
    """Norm of all gradients of a step together that they are scaled down to where it is larger; none by default."""
    accumulate: Annotated[int, Range(low=1)] = field(default=1, metadata=LATER)
    """Parts of a batch that are computed one after another before a step, so that a larger one fits into memory."""
    ema_decay: Annotated[float, Range(low=0, below=1)] = field(default=0.0, metadata=LATER)
    """Part of an average of the weights that is kept at each step; the average is measured and saved as the model. 0.99
    to 0.9999 are usual; 0 has none."""
    patience: Annotated[int, Range(low=0)] = field(default=0, metadata=LATER)
    """Evaluations on the validation set without a better one after which the stage ends; takes --selection.keep best.
    0 never ends it early, and auxo compare does not either."""

    @property
    def mixes(self) -> bool:
        """Whether training images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def scales_rates(self) -> bool:
        """Whether the backbone has rates of its own."""
        return self.backbone_rate != 1 or self.layer_decay != 1
