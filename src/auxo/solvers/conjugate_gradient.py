"""Conjugate gradients on the whole lower network, one step length for all of it."""

from dataclasses import dataclass
from typing import Annotated

from jaxtyping import Float
from torch import Tensor

from auxo.bilevel import ConjugateGradient
from auxo.options import Range
from auxo.solvers._products import ProductSolver

SOURCE = (
    "Hestenes & Stiefel 1952, on the linear system of Zakarias, Hansen, Tan, BiSSL (TMLR, arXiv 2410.02387); 5 "
    "products and a damping of 10 are those of its released code. Ours: a stop at negative curvature and at a residual."
)


@dataclass(frozen=True, kw_only=True)
class ConjugateGradientSolver(ProductSolver):
    """Options of conjugate gradients."""

    tolerance: Annotated[float, Range(low=0)] = 1e-3
    """Relative residual at which the solution is left as it is."""

    def build(self) -> ConjugateGradient:
        """Return the solver of the linear system."""
        # A product is most of what a step costs, and with this damping the recursion's residual is the true one.
        return ConjugateGradient(
            iterations=self.iterations, damping=1.0, tolerance=self.tolerance, measure_residual=False
        )

    def is_lost(self, solution: Float[Tensor, " size"]) -> bool | Tensor:
        """Return whether it stopped at the first direction, where it has nothing yet."""
        is_zero: Tensor = solution.norm() == 0
        return is_zero
