"""Decoders: from the maps of a backbone to features of pixels, one module each, chosen by name."""

from auxo.layers.decoders._interface import (
    AbstractDecoder,
    DecoderConfig,
    MapShape,
    keep_last_of_each_size,
    list_unread,
    measure_maps,
)
from auxo.layers.decoders._network import PixelNetwork, PixelOutputs

__all__ = [
    "AbstractDecoder",
    "DecoderConfig",
    "MapShape",
    "PixelNetwork",
    "PixelOutputs",
    "keep_last_of_each_size",
    "list_unread",
    "measure_maps",
]
