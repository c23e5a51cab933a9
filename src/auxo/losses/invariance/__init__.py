"""Invariance: what keeps a network from telling a column apart; one module each, built by name."""

from auxo.losses.invariance._discrepancy import discrepancy, find_dependence
from auxo.losses.invariance._interface import (
    AbstractInvariance,
    InvarianceConfig,
    InvarianceTerms,
    JoinedRows,
    KernelPenaltyConfig,
    weighted_mean,
)
from auxo.losses.invariance._weights import Weighting, cell_counts, cell_weights, effective_fraction

__all__ = [
    "AbstractInvariance",
    "InvarianceConfig",
    "InvarianceTerms",
    "JoinedRows",
    "KernelPenaltyConfig",
    "Weighting",
    "cell_counts",
    "cell_weights",
    "discrepancy",
    "effective_fraction",
    "find_dependence",
    "weighted_mean",
]
