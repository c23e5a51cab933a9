"""Softmax cross-entropy of every sample."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from auxo.types import Labels, Losses


def cross_entropy_losses(logits: Float[Tensor, "batch classes"], labels: Labels) -> Losses:
    """Return ``-log softmax(logits)[label]`` of every sample.

    Computed in float32 when the logits are of lower precision.

    Args:
        logits: shape ``(batch, classes)``.
        labels: shape ``(batch,)``; int64 in ``0..classes-1``.

    Returns:
        Nats, shape ``(batch,)``, attached to the graph.

    Example:
        >>> import torch
        >>> cross_entropy_losses(torch.zeros(1, 4), torch.tensor([2])).exp()
        tensor([4.])
    """
    if logits.dtype.itemsize < 4:
        logits = logits.float()
    return functional.cross_entropy(logits, labels, reduction="none")
