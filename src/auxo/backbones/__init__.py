"""Backbones: networks without heads, one module each, built by name."""

from auxo.backbones._config import BackboneConfig
from auxo.backbones._frozen import FrozenBackbone, frozen_networks, normalisation_of, stored_state

__all__ = ["BackboneConfig", "FrozenBackbone", "frozen_networks", "normalisation_of", "stored_state"]
