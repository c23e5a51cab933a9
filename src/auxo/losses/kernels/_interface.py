"""What a kernel is, and the length scale that rows have themselves."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.options import FamilyOptions


@dataclass(frozen=True, kw_only=True)
class KernelConfig(FamilyOptions):
    """How alike two rows are. A kernel is nothing but its options."""

    family = "losses.kernels"

    @abstractmethod
    def compare(self, rows: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
        """Return the kernel of all pairs of rows, attached to the graph.

        Args:
            rows: of at least 32 bits.

        Cost: ``n^2 dim`` multiply-adds and ``n^2`` numbers.
        """


def measure_distances(rows: Float[Tensor, "n dim"], *, norm: float) -> Float[Tensor, "n n"]:
    """Return the distances of all pairs of rows, attached; their gradient is 0 where two rows are equal.

    Args:
        rows: of at least 32 bits.
        norm: 2 for Euclidean distances, 1 for the sum of absolute differences.
    """
    # Differences, not products of rows: those lose the small distances of rows far from the origin.
    return torch.cdist(rows, rows, p=norm, compute_mode="donot_use_mm_for_euclid_dist")


def median_distance(distances: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Return the median distance of two different rows, detached; 1 where it is 0 or there is no second row.

    Source: the heuristic of Gretton et al., A Kernel Two-Sample Test, JMLR 2012, section 8.
    """
    count = len(distances)
    pairs = distances.detach()[~torch.eye(count, dtype=torch.bool, device=distances.device)]
    if not len(pairs):
        return distances.new_ones(())
    middle = pairs.median()
    return torch.where(middle > 0, middle, 1.0)
