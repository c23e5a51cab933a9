"""What a solver is: from a gradient at the lower level's solution to the gradient in what that solution follows."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor

from auxo.bilevel import HessianOperator, LinearSolution
from auxo.errors import OptionError
from auxo.options import FamilyOptions


class Response(NamedTuple):
    """How the lower solution answers to a gradient.

    Args:
        vector: ``J v``, or what the solver has for it.
        residual: of the linear system, relative; 0 where there is none.
        negative_curvature: whether the solver met it and stopped.
        products: with the Hessian, that the vector was made from; not those that only measure it.
    """

    vector: Float[Tensor, " size"]
    residual: Float[Tensor, ""]
    negative_curvature: Float[Tensor, ""]
    products: int = 0


class LowerLevel(NamedTuple):
    """What a solver may ask of the lower level.

    Args:
        coupling: weight lambda of half the squared distance to the upper level, >= 0.
        gradients: the last gradients of the lower loss, one a row; of a solver that needs them.
        hessian: returns the Hessian of the lower loss, built at the first call; of a solver that takes products.
    """

    coupling: float
    gradients: Float[Tensor, "steps size"] | None
    hessian: Callable[[], HessianOperator]


@dataclass(frozen=True, kw_only=True)
class SolverConfig(FamilyOptions):
    """How ``J v`` is had, with ``J`` the derivative of the lower solution; a solver is nothing but its options."""

    family = "solvers"
    has_products: ClassVar[bool] = False
    """Whether it takes products with the Hessian of the lower loss."""
    has_gradients: ClassVar[bool] = False
    """Whether it reads the last gradients of the lower loss."""

    @property
    def added(self) -> float:
        """What is added to the coupling where a linear system is solved."""
        return 0.0

    @abstractmethod
    def respond(self, vector: Float[Tensor, " size"], lower: LowerLevel) -> Response:
        """Return ``J v``, detached.

        Args:
            vector: ``v``, the gradient at the lower solution.
            lower: the lower level.
        """

    def check_coupling(self, coupling: float) -> None:
        """Refuse a coupling that leaves no linear system to solve; by default none.

        Raises:
            OptionError: it is 0, and nothing is added to it.
        """


def require_system(solver: SolverConfig, coupling: float) -> None:
    """Refuse a linear system without a diagonal.

    Raises:
        OptionError: the coupling is 0, and nothing is added to it.
    """
    if coupling + solver.added == 0:
        with_damping = " or solver.damping > 0" if solver.has_products else ""
        fix = "without, the linear system is not defined"
        raise OptionError("coupling", f"> 0{with_damping} with the solver {solver.name}", "0", fix)


def measured(answer: LinearSolution) -> Float[Tensor, ""]:
    """Return the relative residual of a solution, 0 where the solver measures none."""
    return answer.solution.new_zeros(()) if answer.residual is None else answer.residual
