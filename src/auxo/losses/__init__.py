"""Losses, per sample: shape ``(batch,)``, reduced by whoever uses them."""

from auxo.losses._class_loss import ClassLoss, ClassLossConfig
from auxo.losses._class_weights import effective_number_weights
from auxo.losses.cross_entropy import CrossEntropy, cross_entropy_losses
from auxo.losses.focal import Focal, focal_losses, focal_terms
from auxo.losses.ldam import LDAM, ldam_losses, ldam_margins

__all__ = [
    "LDAM",
    "ClassLoss",
    "ClassLossConfig",
    "CrossEntropy",
    "Focal",
    "cross_entropy_losses",
    "effective_number_weights",
    "focal_losses",
    "focal_terms",
    "ldam_losses",
    "ldam_margins",
]
