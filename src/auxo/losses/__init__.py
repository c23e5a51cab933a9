"""Losses, per sample: shape ``(batch,)``, reduced by whoever uses them."""

from auxo.losses.class_loss import ClassLoss, ClassLossConfig
from auxo.losses.class_weights import effective_number_weights
from auxo.losses.cross_entropy import cross_entropy_losses
from auxo.losses.focal import focal_losses
from auxo.losses.ldam import ldam_losses, ldam_margins

__all__ = [
    "ClassLoss",
    "ClassLossConfig",
    "cross_entropy_losses",
    "effective_number_weights",
    "focal_losses",
    "ldam_losses",
    "ldam_margins",
]
