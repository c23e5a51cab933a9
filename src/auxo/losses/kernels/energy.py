"""Minus the distance: with it the discrepancy of two samples is their energy distance. It has no length scale."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.layers.mmd import pairwise_distances
from auxo.losses.kernels._interface import KernelConfig

SOURCE = (
    "Szekely & Rizzo, Energy statistics, J. Statistical Planning and Inference 2013; as a kernel: Sejdinovic et al., "
    "Annals of Statistics 2013. Ours in shortcut removal."
)


@dataclass(frozen=True, kw_only=True)
class Energy(KernelConfig):
    r"""The conditionally positive definite kernel :math:`-\|z - z'\|`.

    Differences of samples are at least 0 with it, too, and grow without a bound.
    """

    def compare(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
        """See :meth:`KernelConfig.compare`."""
        return -pairwise_distances(rows)
