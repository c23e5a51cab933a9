"""Backbones: networks without heads, one module each, built by name."""

from auxo.backbones._config import BackboneConfig

__all__ = ["BackboneConfig"]
