"""Combination networks: functions of several losses with learned weights, one module each, built by name."""

from auxo.gates.combinations._interface import AbstractCombination, CombinationConfig

__all__ = ["AbstractCombination", "CombinationConfig"]
