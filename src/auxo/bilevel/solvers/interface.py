"""The contract of solvers, and what they hand back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auxo.bilevel.instance import Instance
from auxo.bilevel.linear.interface import Breakdown
from auxo.bilevel.problem import Params


@dataclass(frozen=True, kw_only=True)
class SolverInfo:
    """How a hypergradient was computed and how good it is.

    Tensors stay on the device: nothing is synchronised before somebody reads them.

    Args:
        is_finite: whether every gradient and the outer loss are finite.
        residual: relative residual of the linear system, or of the inner problem where the solver says so; ``None``
            where the solver measures none.
        tolerance: residual that the solver was asked for; 0 if none.
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
        """Whether nothing failed and the residual, if the solver measures one, is within the tolerance.

        Where none was asked for, it has to be within the square root of the dtype's rounding unit: a few iterations of
        a solver can be all that is wanted, but they are no solution.
        """
        if self.residual is None:
            return ~self.has_failed
        enough = self.tolerance or torch.finfo(self.residual.dtype).eps ** 0.5
        return ~self.has_failed & (self.residual <= enough)


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
        derivatives: which ones layers must have: first, forward-mode ones, or second; attention has to take a kernel
            which has them.
        drops: what the solver leaves out on purpose, and what keeps it; empty if nothing.
    """

    derivatives: ClassVar[Literal["first", "forward", "second"]] = "second"
    drops: ClassVar[str] = ""

    @abstractmethod
    def solve(self, instance: Instance) -> SolverAnswer:
        """Return both parts of the hypergradient of a problem at given parameters and batches."""
