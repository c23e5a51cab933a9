"""Solvers of linear systems that are known only through products: one file each."""

from auxo.bilevel.linear.conjugate_gradient import ConjugateGradient
from auxo.bilevel.linear.interface import AbstractLinearSolver, LinearSolution, Operator, Product
from auxo.bilevel.linear.minres import MINRES
from auxo.bilevel.linear.neumann import Neumann, largest_eigenvalue
from auxo.bilevel.linear.nystrom import Nystrom

__all__ = [
    "MINRES",
    "AbstractLinearSolver",
    "ConjugateGradient",
    "LinearSolution",
    "Neumann",
    "Nystrom",
    "Operator",
    "Product",
    "largest_eigenvalue",
]
