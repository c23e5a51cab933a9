"""Backbones: networks without heads, one module each, built by name."""

from auxo.backbones._config import BackboneConfig, has_published_weights
from auxo.backbones._frozen import FrozenBackbone, frozen_networks, normalisation_of, stored_state

__all__ = [
    "BackboneConfig",
    "FrozenBackbone",
    "frozen_networks",
    "has_published_weights",
    "normalisation_of",
    "stored_state",
]
