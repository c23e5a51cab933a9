"""U-Net: from the coarsest map up, each finer map joined to what is there and convolved."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import OptionError
from auxo.layers.convolutions import build_convolution, enlarge_maps, initialise_convolutions
from auxo.layers.decoders._interface import AbstractDecoder, DecoderConfig, MapShape, keep_last_of_each_size
from auxo.options import Range
from auxo.random import derive_seed, global_seed

SOURCE = (
    "Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015, Figure "
    "1 (https://arxiv.org/abs/1505.04597): coarse features are enlarged, joined to the finer map by channels, and "
    "convolved. Differs: any backbone contracts; bilinear interpolation for transposed convolutions, padded "
    "convolutions with batch norm, one for each map by default where the paper has two, as many channels everywhere, "
    "and the finest map may be left out."
)


class UNet(AbstractDecoder):
    """Convolutions on the way up, as many channels at every size.

    Of several maps of one size the last is read. A map finer than the option ``stride`` is not read, unless all are.

    Args:
        shapes: of the maps that are read, finest first.
        width: channels.
        num_convolutions: at each size.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DecoderConfig):
        """Options of the U-Net decoder."""

        width: Annotated[int, Range(low=1)] = 32
        """Channels at every size, the features' among them."""
        convolutions: Annotated[int, Range(low=1)] = 1
        """3x3 convolutions at every size; the paper has two."""
        stride: Annotated[int, Range(low=1)] = 2
        """Pixels between neighbouring features; maps that are finer are not read. 1 reads all: four times the work at
        the last step where the backbone has a map of the image's own size."""

        def build(self, shapes: Mapping[str, MapShape], *, seed: int) -> "UNet":
            """See :meth:`DecoderConfig.build`."""
            levels = keep_last_of_each_size(shapes)
            read = {name: shape for name, shape in levels.items() if shape.stride >= self.stride}
            if not read:
                coarsest = max(shape.stride for shape in levels.values())
                rule, fix = f"<= {coarsest}, that of the backbone's coarsest map", "lower it"
                raise OptionError("stride", rule, str(self.stride), fix)
            with global_seed(derive_seed(seed, "init", "decoder")):
                return UNet(read, width=self.width, num_convolutions=self.convolutions)

    def __init__(self, shapes: Mapping[str, MapShape], *, width: int, num_convolutions: int) -> None:
        super().__init__()
        self.num_features = width
        self.names = tuple(shapes)[::-1]  # coarsest first
        self.levels = nn.ModuleList()
        before = 0
        for name in self.names:
            layers = [build_convolution(before + shapes[name].channels, width)]
            layers += [build_convolution(width, width) for _ in range(num_convolutions - 1)]
            self.levels.append(nn.Sequential(*layers))
            before = width
        initialise_convolutions(self)

    def forward(self, maps: Mapping[str, Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch features rows columns"]:
        """Return the features at the size of the finest map that is read."""
        coarsest, *finer = self.names
        first, *others = self.levels
        features: Tensor = first(maps[coarsest])
        for name, level in zip(finer, others, strict=True):
            skip = maps[name]
            enlarged = enlarge_maps(features, (skip.shape[2], skip.shape[3]))
            features = level(torch.cat([enlarged, skip], dim=1))
        return features
