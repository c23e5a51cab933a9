"""What a decoder is: from a backbone's maps to one map of features, on which a classifier of pixels stands."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import ConfigError
from auxo.layers.modes import evaluation_mode
from auxo.options import FamilyOptions


class MapShape(NamedTuple):
    """A map of a backbone at the size of the training images.

    Args:
        channels: of the map.
        height: cells.
        width: cells.
        stride: pixels between neighbouring cells, as a power of two: sizes are rounded up, so that 90 pixels may
            become 6 cells of 16.
    """

    channels: int
    height: int
    width: int
    stride: int


class AbstractDecoder(nn.Module, ABC):
    """Makes one map of features from the maps of a backbone.

    Attributes:
        num_features: channels of the map that it makes.
    """

    num_features: int

    @abstractmethod
    def forward(self, maps: Mapping[str, Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch features rows columns"]:
        """Return the features of images of any size, from their maps by name.

        Their rows and columns are those of one of the maps.
        """


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(FamilyOptions):
    """How the maps of a backbone become features of pixels; each decoder has options of its own."""

    family = "layers.decoders"

    @abstractmethod
    def build(self, shapes: Mapping[str, MapShape], *, seed: int) -> AbstractDecoder:
        """Return the decoder, on the CPU; its first weights come from the stream ``init/decoder``.

        Args:
            shapes: of the backbone's maps, finest first, see :func:`measure_maps`.
            seed: of the run.

        Raises:
            ConfigError: the maps are not what the decoder needs.
        """


def measure_maps(backbone: nn.Module, image_shape: tuple[int, int, int]) -> dict[str, MapShape]:
    """Return the shapes of a backbone's maps, finest first: one pass of a blank image, which moves no statistics.

    Args:
        backbone: an :class:`auxo.interfaces.AbstractBackbone`, on the CPU.
        image_shape: channels, height and width of the images.

    Raises:
        ConfigError: it has no maps, or one that does not lie over the whole image.
    """
    _, height, width = image_shape
    with evaluation_mode(backbone), torch.no_grad():
        maps: Mapping[str, Tensor] = backbone(torch.zeros(1, *image_shape)).maps
    kind, fix = type(backbone).__name__, "choose another --backbone.name, such as conv4 or resnet18"
    if not maps:
        raise ConfigError("a backbone that gives maps, to predict pixels from", f"{kind} without any", fix)
    for name in maps:
        covered = cast("Callable[..., tuple[int, int]]", backbone.map_size)(name, height=height, width=width)
        if covered != (height, width):
            got = f"{name} of {kind}, over {covered[0]}x{covered[1]} of {height}x{width} pixels"
            raise ConfigError("maps that lie over the whole image, to predict pixels from", got, fix)
    return {name: _measure_map(value, height, width) for name, value in maps.items()}


def list_unread(backbone: nn.Module, decoder: AbstractDecoder, image_shape: tuple[int, int, int]) -> list[str]:
    """Return the names of the backbone's parameters that a decoder's features do not depend on, in order.

    They are behind the last map that it reads, and no loss of pixels trains them. One forward and backward pass of a
    blank image, which moves no statistics.

    Args:
        backbone: an :class:`auxo.interfaces.AbstractBackbone`.
        decoder: built for its maps.
        image_shape: channels, height and width of the images.
    """
    names, weights = zip(*((n, p) for n, p in backbone.named_parameters() if p.requires_grad), strict=True)
    with evaluation_mode(backbone), evaluation_mode(decoder), torch.enable_grad():
        features: Tensor = decoder(backbone(weights[0].new_zeros(1, *image_shape)).maps)
        gradients = torch.autograd.grad(features.sum(), weights, allow_unused=True)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]


def keep_last_of_each_size(shapes: Mapping[str, MapShape]) -> dict[str, MapShape]:
    """Return the maps without those that are followed by another of the same size, finest first."""
    last = {(shape.height, shape.width): name for name, shape in shapes.items()}
    return {name: shape for name, shape in shapes.items() if last[shape.height, shape.width] == name}


def _measure_map(value: Tensor, height: int, width: int) -> MapShape:
    """Return the shape of one map of an image of so many pixels."""
    _, channels, rows, columns = value.shape
    stride = 2 ** max(0, round(math.log2(max(height / rows, width / columns))))
    return MapShape(channels, rows, columns, stride)
