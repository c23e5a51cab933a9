"""Kernels: how alike two rows are; one module each, built by name."""

from auxo.losses.kernels._interface import KernelConfig, median_distance

__all__ = ["KernelConfig", "median_distance"]
