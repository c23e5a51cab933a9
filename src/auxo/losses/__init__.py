"""Losses, per sample: shape ``(batch,)``, reduced by whoever uses them."""

from auxo.losses.cross_entropy import cross_entropy_losses

__all__ = ["cross_entropy_losses"]
