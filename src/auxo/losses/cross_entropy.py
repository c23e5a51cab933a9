"""Softmax cross-entropy of every sample."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from auxo.losses._class_loss import ClassLossConfig, SampleLosses, scale_outputs
from auxo.types import Labels, Losses

SOURCE = "The negative logarithm of the softmax probability of the label."


def cross_entropy_losses(logits: Float[Tensor, "batch classes"], labels: Labels, *, smoothing: float = 0.0) -> Losses:
    """Return ``-log softmax(logits)[label]`` of every sample.

    Computed in float32 when the logits are of lower precision.

    Args:
        logits: shape ``(batch, classes)``.
        labels: shape ``(batch,)``; int64 in ``0..classes-1``.
        smoothing: part of the label's weight that is shared out evenly among all classes, its own too, in [0, 1), as
            in Szegedy et al., Rethinking the Inception Architecture, CVPR 2016 (arXiv 1512.00567), section 7.

    Returns:
        Nats, shape ``(batch,)``, attached to the graph.

    Example:
        >>> import torch
        >>> cross_entropy_losses(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([4.])
    """
    if logits.dtype.itemsize < 4:
        logits = logits.float()
    return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(ClassLossConfig):
    """Options of cross-entropy."""

    smooths_labels = True

    def build_losses(self, class_counts: tuple[int, ...], *, scale: float, smoothing: float = 0.0) -> SampleLosses:
        """Return cross-entropy of the scaled outputs."""
        del class_counts
        return lambda outputs, labels: cross_entropy_losses(scale_outputs(outputs, scale), labels, smoothing=smoothing)
