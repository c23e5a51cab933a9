"""Kernels: how alike two rows are; one module each, built by name."""

from auxo.losses.kernels._interface import KernelConfig

__all__ = ["KernelConfig"]
