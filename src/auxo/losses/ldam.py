"""LDAM: cross-entropy of cosine logits with a margin that is larger for rarer classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from auxo.losses._class_loss import ClassLossConfig, PerClass, SampleLosses, computed_in
from auxo.losses.cross_entropy import cross_entropy_losses
from auxo.options import Range
from auxo.types import Labels, Losses

SOURCE = (
    "Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019, Eq. 12-13 "
    "(arXiv 1906.07413); the scaling to a largest margin is that of the released code, kaidic/LDAM-DRW."
)


def ldam_margins(class_counts: Sequence[int], *, max_margin: float) -> Float[Tensor, " classes"]:
    r"""Return the margin of every class, ``m_j = max_margin * n_j^{-1/4} / max_i n_i^{-1/4}``.

    The rarest class has ``max_margin``, a class with 16 times its images half of that.

    Args:
        class_counts: training images ``n_j`` of each class, >= 1.
        max_margin: margin of the rarest class, in units of a cosine.

    Returns:
        Shape ``(classes,)``; float64.

    Source: Cao et al., Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss, NeurIPS 2019, Eq. 13
    (arXiv 1906.07413); the scaling to a largest margin is that of the released code, kaidic/LDAM-DRW.

    Example:
        >>> ldam_margins([1600, 100], max_margin=0.5)
        tensor([0.2500, 0.5000], dtype=torch.float64)
    """
    inverse = torch.tensor(class_counts, dtype=torch.float64).pow(-0.25)
    return max_margin * inverse / inverse.max()


def ldam_losses(
    cosines: Float[Tensor, "batch classes"], labels: Labels, *, margins: Float[Tensor, " classes"], scale: float
) -> Losses:
    r"""Return ``-log softmax(scale * (z - m_y e_y))[y]`` of every sample: its own class is handicapped by its margin.

    Computed in float32 when the cosines are of lower precision.

    Args:
        cosines: shape ``(batch, classes)``; outputs ``z`` of a cosine head, in [-1, 1].
        labels: shape ``(batch,)``; int64 in ``0..classes-1``.
        margins: shape ``(classes,)``, from :func:`ldam_margins`, on the device of the cosines.
        scale: factor before the softmax, > 0; the released code has 30.

    Returns:
        Nats, shape ``(batch,)``, attached to the graph.

    Source: Cao et al., NeurIPS 2019, Eq. 12-13 (arXiv 1906.07413).

    Example:
        >>> margins = torch.tensor([0.0, 0.5])
        >>> ldam_losses(torch.tensor([[0.5, 1.0]]), torch.tensor([1]), margins=margins, scale=30.0).exp()
        tensor([2.])
    """
    if cosines.dtype.itemsize < 4:
        cosines = cosines.float()
    handicap = functional.one_hot(labels, cosines.shape[1]) * margins.to(cosines.dtype)
    return cross_entropy_losses(scale * (cosines - handicap), labels)


@dataclass(frozen=True, kw_only=True)
class LDAM(ClassLossConfig):
    """Options of LDAM, which needs a cosine head."""

    needs_counts = True
    needs_cosines = True

    max_margin: Annotated[float, Range(low=0, high=2)] = 0.5
    """Margin of the rarest class, in units of a cosine."""

    def build_losses(self, class_counts: tuple[int, ...], *, scale: float, smoothing: float = 0.0) -> SampleLosses:
        """Return LDAM of cosines, with the margins that follow from the counts."""
        del smoothing
        margins = PerClass(ldam_margins(class_counts, max_margin=self.max_margin))

        def losses(outputs: Tensor, labels: Labels) -> Losses:
            own = margins.on(outputs.device, computed_in(outputs))
            return ldam_losses(outputs, labels, margins=own, scale=scale)

        return losses
