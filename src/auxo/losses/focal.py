"""Focal loss: cross-entropy that counts less where the answer is already sure."""

from dataclasses import dataclass, field
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.losses._class_loss import ClassLossConfig, SampleLosses, scale_outputs
from auxo.losses.cross_entropy import cross_entropy_losses
from auxo.options import LATER, Range
from auxo.types import Labels, Losses

SOURCE = (
    "Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Eq. 4, and with class weights Eq. 5 (arXiv "
    "1708.02002); weights inside the probability as in the released code of LDAM-DRW (kaidic/LDAM-DRW) and of G-SSL."
)


def focal_losses(logits: Float[Tensor, "batch classes"], labels: Labels, *, gamma: float) -> Losses:
    """Return ``-(1 - p)^gamma log p`` of every sample, with ``p`` the softmax probability of its label.

    Computed in float32 when the logits are of lower precision.

    Args:
        logits: shape ``(batch, classes)``.
        labels: shape ``(batch,)``; int64 in ``0..classes-1``.
        gamma: >= 0; 0 is cross-entropy.

    Returns:
        Nats, shape ``(batch,)``, attached to the graph.

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Eq. 4 (arXiv 1708.02002).

    Example:
        >>> focal_losses(torch.zeros(1, 2), torch.tensor([0]), gamma=2.0) / torch.tensor(2.0).log()
        tensor([0.2500])
    """
    return _focus_losses(cross_entropy_losses(logits, labels), gamma)


def focal_terms(logits: Float[Tensor, "batch classes"], *, gamma: float) -> Float[Tensor, "batch classes"]:
    """Return ``-(1 - p)^gamma log p`` of every sample and class; its product with soft targets is a focal loss.

    Computed in float32 when the logits are of lower precision.

    Args:
        logits: shape ``(batch, classes)``.
        gamma: >= 0; 0 gives the terms of cross-entropy.

    Source: Lin et al., ICCV 2017, Eq. 4, for every class instead of the label's.

    Example:
        >>> terms = focal_terms(torch.zeros(1, 2), gamma=2.0)
        >>> (terms * torch.tensor([[0.5, 0.5]])).sum(1) / torch.tensor(2.0).log()
        tensor([0.2500])
    """
    wide = logits.float() if logits.dtype.itemsize < 4 else logits
    negative_logs = -torch.log_softmax(wide, dim=1)
    if not gamma:
        return negative_logs
    doubts = (-torch.expm1(-negative_logs)).clamp_min(torch.finfo(wide.dtype).tiny)
    return doubts.pow(gamma) * negative_logs


def _focus_losses(losses: Losses, gamma: float) -> Losses:
    """Return ``(1 - exp(-l))^gamma l`` of every cross-entropy ``l``."""
    # Below the smallest normal number the power's slope could be infinite; clamping makes it zero.
    doubts = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny)
    return doubts.pow(gamma) * losses


@dataclass(frozen=True, kw_only=True)
class Focal(ClassLossConfig):
    """Options of focal loss."""

    divides_by_weights = False

    gamma: Annotated[float, Range(low=0)] = 1.0
    """Exponent; 0 is cross-entropy, detection takes 2, long-tailed classification 1."""

    weights_inside: bool = field(default=False, metadata=LATER)
    """Class weights multiply the cross-entropy before it is focused, so that they are an exponent of the probability,
    too, ``-w (1 - p^w)^gamma log p``, as in the released code of LDAM-DRW and G-SSL; else they stand in front."""

    def build_losses(self, class_counts: tuple[int, ...], *, scale: float, smoothing: float = 0.0) -> SampleLosses:
        """Return the cross-entropy of the scaled outputs, which :meth:`weigh_losses` makes focal loss of."""
        del class_counts, smoothing
        return lambda outputs, labels: cross_entropy_losses(scale_outputs(outputs, scale), labels)

    def weigh_losses(self, losses: Losses, weights: Losses | None) -> Losses:
        """Return focal loss of every sample, weighted."""
        if weights is None:
            return _focus_losses(losses, self.gamma)
        if self.weights_inside:
            return _focus_losses(weights * losses, self.gamma)
        return weights * _focus_losses(losses, self.gamma)
