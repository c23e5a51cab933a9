"""Solvers of linear systems that are known only through products: one file each."""

from auxo.bilevel.linear.conjugate_gradient import ConjugateGradient
from auxo.bilevel.linear.identity import Identity
from auxo.bilevel.linear.interface import AbstractLinearSolver, Breakdown, LinearSolution, Operator, Product
from auxo.bilevel.linear.layerwise_conjugate_gradient import LayerwiseConjugateGradient
from auxo.bilevel.linear.minres import MINRES
from auxo.bilevel.linear.neumann import Neumann, largest_eigenvalue
from auxo.bilevel.linear.nystrom import Nystrom
from auxo.bilevel.linear.outer_products import solve_outer_products

__all__ = [
    "MINRES",
    "AbstractLinearSolver",
    "Breakdown",
    "ConjugateGradient",
    "Identity",
    "LayerwiseConjugateGradient",
    "LinearSolution",
    "Neumann",
    "Nystrom",
    "Operator",
    "Product",
    "largest_eigenvalue",
    "solve_outer_products",
]
