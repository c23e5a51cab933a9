"""A Neumann series of the linear system."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.bilevel import Neumann
from auxo.solvers._products import ProductSolver

SOURCE = (
    "Lorraine, Vicol, Duvenaud, Optimizing Millions of Hyperparameters by Implicit Differentiation, AISTATS 2020 "
    "(arXiv 1911.02590), on the linear system of BiSSL. Where the series grows, v is kept."
)


@dataclass(frozen=True, kw_only=True)
class NeumannSolver(ProductSolver):
    """Options of the series."""

    def build(self) -> Neumann:
        """Return the solver of the linear system."""
        # A product is most of what a step costs; the damping keeps the recursion's residual near the true one.
        return Neumann(terms=self.iterations, damping=1.0, measure_residual=False)

    def is_lost(self, solution: Float[Tensor, " size"]) -> bool | Tensor:
        """Return that it is: a series or an approximation has nothing before it breaks down."""
        del solution
        return True
