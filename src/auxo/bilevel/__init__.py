"""Hypergradients: the derivative of one loss through the minimum of another. Works alone, on any torch module."""

from auxo.bilevel.hessian import HessianOperator
from auxo.bilevel.hypergradient import HypergradientWarning, HypergradResult, hypergradient
from auxo.bilevel.inner_optimizers import SGD, AbstractInnerOptimizer, Adam, Momentum
from auxo.bilevel.labels import ClassBatch, differentiate_labels
from auxo.bilevel.least_squares_head import LeastSquaresHeadProblem
from auxo.bilevel.linear import (
    MINRES,
    AbstractLinearSolver,
    ConjugateGradient,
    Identity,
    LayerwiseConjugateGradient,
    LinearSolution,
    Neumann,
    Nystrom,
    Operator,
    solve_outer_products,
)
from auxo.bilevel.losses import CompositeLoss, LinearHeadLoss, WeightedLoss
from auxo.bilevel.module import FunctionalModule
from auxo.bilevel.parameters import ModuleLoss, differentiate_parameters
from auxo.bilevel.problem import BilevelProblem, Params
from auxo.bilevel.softmax_head import HeadSolution, SoftmaxHeadProblem
from auxo.bilevel.solvers import (
    AbstractSolver,
    ExactHead,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    Implicit,
    Penalty,
    SolverInfo,
    Unrolled,
)

__all__ = [
    "MINRES",
    "SGD",
    "AbstractInnerOptimizer",
    "AbstractLinearSolver",
    "AbstractSolver",
    "Adam",
    "BilevelProblem",
    "ClassBatch",
    "CompositeLoss",
    "ConjugateGradient",
    "ExactHead",
    "FiniteDifference",
    "FirstOrder",
    "ForwardMode",
    "FunctionalModule",
    "HeadSolution",
    "HessianOperator",
    "HypergradResult",
    "HypergradientWarning",
    "Identity",
    "Implicit",
    "LayerwiseConjugateGradient",
    "LeastSquaresHeadProblem",
    "LinearHeadLoss",
    "LinearSolution",
    "ModuleLoss",
    "Momentum",
    "Neumann",
    "Nystrom",
    "Operator",
    "Params",
    "Penalty",
    "SoftmaxHeadProblem",
    "SolverInfo",
    "Unrolled",
    "WeightedLoss",
    "differentiate_labels",
    "differentiate_parameters",
    "hypergradient",
    "solve_outer_products",
]
