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

__all__ = [
    "AbstractInvariance",
    "InvarianceConfig",
    "InvarianceTerms",
    "JoinedRows",
    "KernelPenaltyConfig",
    "discrepancy",
    "find_dependence",
    "weighted_mean",
]
