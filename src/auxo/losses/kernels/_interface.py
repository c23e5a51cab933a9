"""What a kernel is."""

from abc import abstractmethod
from dataclasses import dataclass

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
