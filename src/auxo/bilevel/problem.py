"""What a two-level problem is, and what an answer to it holds."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias

from jaxtyping import Bool, Float
from torch import Tensor

if TYPE_CHECKING:
    from auxo.bilevel.instance import Instance

__all__ = [
    "AbstractSolver",
    "BilevelProblem",
    "Breakdown",
    "Data",
    "HypergradResult",
    "Initial",
    "Level",
    "Mean",
    "Params",
    "SolverAnswer",
    "SolverInfo",
]

Params: TypeAlias = dict[str, Tensor]
"""Tensors by name: inner parameters, hyper-parameters or buffers."""

Data: TypeAlias = Any
"""A batch, of any type that the losses take."""

Level: TypeAlias = Callable[[Params, Params, Params, Data], tuple[Tensor, Params]]
"""Maps (inner parameters, hyper-parameters, buffers, batch) to a scalar loss and the new buffers."""

Initial: TypeAlias = Callable[[Params, Params], Params]
"""Maps (inner parameters, hyper-parameters) to the inner parameters that the first inner step starts from."""

Mean: TypeAlias = Callable[[Tensor], Tensor]
"""Averages a vector over the processes."""


@dataclass(frozen=True, kw_only=True)
class BilevelProblem:
    r"""Choose hyper-parameters for which the inner problem's solution has a small outer loss.

    .. math:: \min_h F(w^*(h), h) \quad\text{with}\quad w^*(h) = \arg\min_w G(w, h).

    Both losses are pure: they may read only their arguments, and return new buffers instead of changing those they get
    (:class:`auxo.bilevel.FunctionalModule` makes a torch module so).

    Args:
        inner_loss: ``G``.
        outer_loss: ``F``.
        initial: where the first inner step starts, as a function of the hyper-parameters; by default at the inner
            parameters that are passed in. Read by the solvers that make inner steps from there (:class:`Unrolled`,
            :class:`FirstOrder`): meta-learning an initialisation is ``initial=lambda params, hyper: hyper``.
        frozen: names of hyper-parameters that may be without a gradient, which is then zero.
    """

    inner_loss: Level
    outer_loss: Level
    initial: Initial | None = None
    frozen: frozenset[str] = frozenset()


class Breakdown(NamedTuple):
    """Where a linear solver met what it cannot handle.

    Args:
        occurred: whether it did.
        direction: the direction it was going in; shape of the right-hand side.
        curvature: ``d'Ad / d'd`` along that direction, without damping.
        fix: what the reader can do about it.
    """

    occurred: Bool[Tensor, ""]
    direction: Tensor
    curvature: Float[Tensor, ""]
    fix: str


@dataclass(frozen=True, kw_only=True)
class SolverInfo:
    """How a hypergradient was computed and how good it is.

    Tensors stay on the device: nothing is synchronised before somebody reads them.

    Args:
        is_finite: whether every gradient and the outer loss are finite.
        residual: relative residual of the linear system, or of the inner problem where the solver says so; ``None``
            where the solver measures none.
        tolerance: residual that the solver was asked for; 0 where the number of iterations is the whole demand.
        iterations: of the linear solver, or inner steps.
        hessian_products: products with the inner Hessian, those of a power iteration included.
        inner_gradients: evaluations of the inner gradient, recomputed ones included.
        inner_slope: norm of the inner gradient: at the inner parameters for the solvers that make no steps, where zero
            means a minimum or saddle, else at the last step; ``None`` where the solver does not meet it.
        adjoint: solution of the linear system by parameter name, to start the next one from; empty if there was none.
        breakdown: what stopped the linear solver, if it can be stopped.
    """

    is_finite: Bool[Tensor, ""]
    residual: Float[Tensor, ""] | None = None
    tolerance: float = 0.0
    iterations: int = 0
    hessian_products: int = 0
    inner_gradients: int = 0
    inner_slope: Float[Tensor, ""] | None = None
    adjoint: Params = field(default_factory=dict)
    breakdown: Breakdown | None = None

    @property
    def has_failed(self) -> Bool[Tensor, ""]:
        """Whether the gradients should not be used: something broke down, or is not finite."""
        failed = ~self.is_finite
        return failed if self.breakdown is None else failed | self.breakdown.occurred

    @property
    def converged(self) -> Bool[Tensor, ""]:
        """Whether nothing failed and the residual is within the tolerance, if the solver has one."""
        converged = ~self.has_failed
        if self.residual is not None and self.tolerance > 0:
            converged = converged & (self.residual <= self.tolerance)
        return converged


class HypergradResult(NamedTuple):
    """The gradient of the outer loss in the hyper-parameters.

    Args:
        grads: direct and indirect part together, by name; detached, in each hyper-parameter's shape and dtype.
        outer_loss: at the inner parameters of :attr:`params`; detached scalar.
        params: inner parameters at which the outer loss was taken; detached. Those passed in, moved by the solver's
            inner steps where it makes any.
        buffers: after those steps; those passed in where the solver makes none.
        inner_state: state of the inner optimiser after those steps, to continue from.
        info: how well it went.
    """

    grads: Params
    outer_loss: Float[Tensor, ""]
    params: Params
    buffers: Params
    inner_state: Params
    info: SolverInfo


class SolverAnswer(NamedTuple):
    """What a solver hands back, before direct and indirect parts are joined.

    Args:
        direct: gradient through the hyper-parameters in the outer loss; ``None`` where none is reached.
        indirect: gradient through the inner parameters; ``None`` where none is reached.
        outer_loss: detached scalar, averaged over the processes.
        params: inner parameters at which it was taken.
        buffers: buffers after the inner steps.
        info: how it went; whether the gradients are finite is filled in afterwards.
        inner_state: state of the inner optimiser.
    """

    direct: dict[str, Tensor | None]
    indirect: dict[str, Tensor | None]
    outer_loss: Float[Tensor, ""]
    params: Params
    buffers: Params
    info: SolverInfo
    inner_state: Params


class AbstractSolver(ABC):
    """A way to differentiate through the inner problem. Subclasses are frozen dataclasses that hold only options.

    Attributes:
        is_second_order: whether layers must be differentiable twice (or forwards), so that attention has to take a
            kernel which is.
        drops: what the solver leaves out on purpose, and what keeps it; empty if nothing.
    """

    derivatives: ClassVar[Literal["first", "forward", "second"]] = "second"
    drops: ClassVar[str] = ""

    @abstractmethod
    def solve(self, instance: "Instance") -> SolverAnswer:
        """Return both parts of the hypergradient of a problem at given parameters and batches."""
