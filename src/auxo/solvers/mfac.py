"""From the last gradients of the lower loss, whose outer products stand for its Hessian."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from auxo.bilevel import solve_outer_products
from auxo.errors import ConfigError
from auxo.solvers._interface import LowerLevel, Response, SolverConfig, measured, require_system

SOURCE = (
    "The later choice of BiSSL's authors, after the code of BiSSLight (arXiv 2609.33424): M-FAC (Frantar, Kurtic, "
    "Alistarh, NeurIPS 2021, arXiv 2107.03356), the mean of the outer products of the last gradients in place of the "
    "Hessian."
)


@dataclass(frozen=True, kw_only=True)
class MFACSolver(SolverConfig):
    """No options: the gradients are those of an alternation, and their system has the coupling on its diagonal."""

    has_gradients = True

    def check_coupling(self, coupling: float) -> None:
        """Refuse a system without a diagonal."""
        require_system(self, coupling)

    def respond(self, vector: Float[Tensor, " size"], lower: LowerLevel) -> Response:
        """Return ``lambda (F + lambda I)^-1 v`` with ``F`` the mean outer product."""
        if lower.gradients is None:
            raise ConfigError("the last gradients of the lower loss for the solver mfac", "none", "keep and pass them")
        answer = solve_outer_products(lower.gradients, vector, damping=lower.coupling)
        return Response(lower.coupling * answer.solution, measured(answer), vector.new_zeros(()))
