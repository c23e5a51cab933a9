"""Ways to label every pixel of the training images without, or with few, masks; one module each, chosen by name."""

from auxo.pretexts.labellers._interface import (
    IGNORED,
    AbstractPixelLabeller,
    LabellerConfig,
    LabelSource,
    LabelTools,
    LendsLabelTools,
)

__all__ = [
    "IGNORED",
    "AbstractPixelLabeller",
    "LabelSource",
    "LabelTools",
    "LabellerConfig",
    "LendsLabelTools",
]
