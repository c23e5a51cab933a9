"""Losses, per sample: shape ``(batch,)``, reduced by whoever uses them; of pixels over those that are known."""

from auxo.losses._class_loss import ClassLoss, ClassLossConfig
from auxo.losses._class_weights import effective_number_weights
from auxo.losses._pixel_loss import (
    IGNORE,
    PixelLoss,
    PixelLossConfig,
    find_known,
    mean_over_known,
    pixel_cross_entropy_losses,
    pixel_dice_loss,
)
from auxo.losses.cross_entropy import CrossEntropy, cross_entropy_losses
from auxo.losses.focal import Focal, focal_losses, focal_terms
from auxo.losses.ldam import LDAM, ldam_losses, ldam_margins

__all__ = [
    "IGNORE",
    "LDAM",
    "ClassLoss",
    "ClassLossConfig",
    "CrossEntropy",
    "Focal",
    "PixelLoss",
    "PixelLossConfig",
    "cross_entropy_losses",
    "effective_number_weights",
    "find_known",
    "focal_losses",
    "focal_terms",
    "ldam_losses",
    "ldam_margins",
    "mean_over_known",
    "pixel_cross_entropy_losses",
    "pixel_dice_loss",
]
