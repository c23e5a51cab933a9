"""Tests of whether a model's features tell a column, on validation images; one module each, built by name."""

from auxo.runs.independence._interface import Dependence, IndependenceTestConfig, SplitRows

__all__ = ["Dependence", "IndependenceTestConfig", "SplitRows"]
