"""Solvers of BiSSL: how a lower level's solution answers to a gradient at it, one module each."""

from auxo.solvers._interface import LowerLevel, Response, SolverConfig

__all__ = ["LowerLevel", "Response", "SolverConfig"]
