"""The lower solution is taken to follow as it is, J = I: a control without the Hessian."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.solvers._interface import LowerLevel, Response, SolverConfig

SOURCE = (
    "A control, ours: what remains of BiSSL (Zakarias, Hansen, Tan, arXiv 2410.02387) where coupling or damping is far "
    "above the eigenvalues of the Hessian."
)


@dataclass(frozen=True, kw_only=True)
class IdentitySolver(SolverConfig):
    """No options."""

    def respond(self, vector: Float[Tensor, " size"], lower: LowerLevel) -> Response:
        """Return ``v``."""
        del lower
        return Response(vector, vector.new_zeros(()), vector.new_zeros(()))
