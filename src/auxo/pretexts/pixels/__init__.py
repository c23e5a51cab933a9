"""What pixels learn by their auxiliary labels, one module each, chosen by name; sampling and loss work alone, too."""

from auxo.pretexts.pixels._interface import AbstractPixelObjective, PixelObjectiveConfig
from auxo.pretexts.pixels._loss import (
    Form,
    Keys,
    Negatives,
    PairMasks,
    Positives,
    pair_masks,
    pixel_contrast_loss,
)
from auxo.pretexts.pixels._sampling import PixelSample, PixelSampling, draw_pixels, shrink_labels

__all__ = [
    "AbstractPixelObjective",
    "Form",
    "Keys",
    "Negatives",
    "PairMasks",
    "PixelObjectiveConfig",
    "PixelSample",
    "PixelSampling",
    "Positives",
    "draw_pixels",
    "pair_masks",
    "pixel_contrast_loss",
    "shrink_labels",
]
