"""Ways to differentiate through an inner problem: one file each."""

from auxo.bilevel.solvers.exact_head import ExactHead
from auxo.bilevel.solvers.finite_difference import FiniteDifference
from auxo.bilevel.solvers.first_order import FirstOrder
from auxo.bilevel.solvers.forward_mode import ForwardMode
from auxo.bilevel.solvers.implicit import Implicit
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.bilevel.solvers.penalty import Penalty
from auxo.bilevel.solvers.unrolled import Unrolled

__all__ = [
    "AbstractSolver",
    "ExactHead",
    "FiniteDifference",
    "FirstOrder",
    "ForwardMode",
    "Implicit",
    "Penalty",
    "SolverAnswer",
    "SolverInfo",
    "Unrolled",
]
