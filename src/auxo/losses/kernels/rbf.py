"""Radial basis functions of one or several length scales."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.errors import OptionError
from auxo.layers.mmd import median_distance, pairwise_distances
from auxo.losses.kernels._interface import KernelConfig
from auxo.options import Range

SOURCE = (
    "The exponentiated quadratic kernel of one fixed length scale is that of the released code of Makar et al., "
    "AISTATS 2022 (github.com/mymakar/causally_motivated_shortcut_removal). Ours: the median distance of the batch for "
    "a scale, and means over several scales (Long et al., ICML 2015, arXiv 1502.02791, have sums of kernels)."
)


@dataclass(frozen=True, kw_only=True)
class RBF(KernelConfig):
    r"""The kernel :math:`\exp(-\|z - z'\|^2 / (2 \sigma^2))`, or its mean over several multiples of sigma."""

    sigma: Annotated[float, Range(above=0)] | None = 10.0
    """Length scale, in the units of the rows; none takes the median distance of the batch. Released grid: 1 to 1000."""
    scales: tuple[Annotated[float, Range(above=0)], ...] = (1.0,)
    """Multiples of sigma, whose kernels are averaged; such as 0.5 1 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.scales:
            raise OptionError("scales", "of at least one number", "none", "leave it at 1")

    def compare(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
        """See :meth:`KernelConfig.compare`."""
        return self.compare_distances(pairwise_distances(rows))

    def compare_distances(self, distances: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        """Return the kernel of rows whose distances are known."""
        sigma = median_distance(distances) if self.sigma is None else self.sigma
        kernels = [torch.exp(-distances.square() / (2 * (scale * sigma) ** 2)) for scale in self.scales]
        return torch.stack(kernels).mean(0)
