"""The Laplace kernel, which falls more slowly far away than a radial basis function."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.layers.mmd import median_distance, pairwise_distances
from auxo.losses.kernels._interface import KernelConfig
from auxo.options import Range

SOURCE = "A standard characteristic kernel (Sriperumbudur et al., JMLR 2010); ours in shortcut removal."


@dataclass(frozen=True, kw_only=True)
class Laplace(KernelConfig):
    r"""The kernel :math:`\exp(-\|z - z'\|_1 / \sigma)`."""

    sigma: Annotated[float, Range(above=0)] | None = 10.0
    """Length scale, in the units of a sum over the columns; none takes the median distance of the batch."""

    def compare(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
        """See :meth:`KernelConfig.compare`."""
        distances = pairwise_distances(rows, norm=1.0)
        return torch.exp(-distances / (median_distance(distances) if self.sigma is None else self.sigma))
