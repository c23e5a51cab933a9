"""DeepLabV3+: a coarse map through dilated convolutions of several rates, then joined to one finer map."""

from collections.abc import Mapping, Sequence
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
    "Chen, Zhu, Papandreou, Schroff, Adam, Encoder-Decoder with Atrous Separable Convolution for Semantic Image "
    "Segmentation, ECCV 2018 (https://arxiv.org/abs/1802.02611), with the pyramid of Chen, Papandreou, Schroff, Adam, "
    "Rethinking Atrous Convolution for Semantic Image Segmentation, 2017 (https://arxiv.org/abs/1706.05587): a 1x1 "
    "convolution, 3x3 convolutions of three rates and the mean over the image, joined by channels; then enlarged, "
    "joined to a finer map of few channels, and two 3x3 convolutions. The papers' text was not read for this; rates "
    "and the 48 channels beside 256 are those of public implementations. Differs: any backbone, whose strides stay as "
    "they are; the rates 6, 12 and 18, which belong to maps of 33 cells (513 pixels at a stride of 16), are scaled to "
    "the map at hand; whole instead of separable convolutions; 32 channels by default for 256; no dropout; the mean "
    "over the image goes through no batch norm, so that a batch may be one image."
)

_CELLS = 33  # of the side of the map that these rates were chosen for: 513 pixels at a stride of 16
_FINER = 4  # how many times finer the second map is, in the paper


class DeepLab(AbstractDecoder):
    """A pyramid of dilated convolutions on a coarse map, and one finer map.

    The coarse map is the coarsest whose stride is at most the option ``stride``, or the finest if all are coarser. The
    finer one is the coarsest that is at least four times finer, or else the finest; where there is none finer, the
    pyramid alone is the decoder.

    Args:
        coarse: name and shape of the coarse map.
        fine: of the finer one; ``None`` where there is none.
        width: channels.
        rates: dilations of the 3x3 convolutions.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DecoderConfig):
        """Options of the DeepLabV3+ decoder."""

        width: Annotated[int, Range(low=8)] = 32
        """Channels of every branch and of the features; the paper has 256."""
        rates: tuple[Annotated[int, Range(low=1)], ...] = (6, 12, 18)
        """Dilations of the 3x3 convolutions on a map of 33 cells a side; scaled to the shorter side of the map at the
        size of the training images, rounded, at least 1, and each once."""
        stride: Annotated[int, Range(low=1)] = 16
        """Largest distance in pixels of neighbouring cells in the coarse map; the paper has 16 or 8."""

        def build(self, shapes: Mapping[str, MapShape], *, seed: int) -> "DeepLab":
            """See :meth:`DecoderConfig.build`."""
            levels = keep_last_of_each_size(shapes)
            if not self.rates:
                raise OptionError("rates", "one rate or more", "none", "take the decoder linear for none")
            coarse = _choose_coarsest(levels, self.stride)
            finer = {name: shape for name, shape in levels.items() if shape.stride < levels[coarse].stride}
            fine = _choose_coarsest(finer, levels[coarse].stride // _FINER) if finer else None
            with global_seed(derive_seed(seed, "init", "decoder")):
                return DeepLab(
                    (coarse, levels[coarse]),
                    None if fine is None else (fine, levels[fine]),
                    width=self.width,
                    rates=scale_rates(self.rates, levels[coarse]),
                )

    def __init__(
        self,
        coarse: tuple[str, MapShape],
        fine: tuple[str, MapShape] | None,
        *,
        width: int,
        rates: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.num_features = width
        self.coarse, shape = coarse
        self.branches = nn.ModuleList([build_convolution(shape.channels, width, size=1)])
        self.branches.extend(build_convolution(shape.channels, width, dilation=rate) for rate in rates)
        self.pooled = nn.Sequential(nn.Conv2d(shape.channels, width, 1), nn.ReLU())
        self.project = build_convolution((len(self.branches) + 1) * width, width, size=1)
        self.fine = None if fine is None else fine[0]
        if fine is not None:
            few = max(8, width * 48 // 256)  # the paper has 48 beside 256
            self.reduce = build_convolution(fine[1].channels, few, size=1)
            self.refine = nn.Sequential(build_convolution(width + few, width), build_convolution(width, width))
        initialise_convolutions(self)

    def forward(self, maps: Mapping[str, Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch features rows columns"]:
        """Return the features at the size of the finer map."""
        coarse = maps[self.coarse]
        pooled = self.pooled(coarse.mean((2, 3), keepdim=True)).expand(-1, -1, coarse.shape[2], coarse.shape[3])
        features: Tensor = self.project(torch.cat([*(branch(coarse) for branch in self.branches), pooled], dim=1))
        if self.fine is None:
            return features
        fine = maps[self.fine]
        enlarged = enlarge_maps(features, (fine.shape[2], fine.shape[3]))
        refined: Tensor = self.refine(torch.cat([enlarged, self.reduce(fine)], dim=1))
        return refined


def scale_rates(rates: Sequence[int], shape: MapShape) -> tuple[int, ...]:
    """Return rates that were chosen for a map of 33 cells a side as they are for another: rounded, each once.

    Args:
        rates: >= 1.
        shape: of the other map; its shorter side counts.

    Example:
        >>> scale_rates((6, 12, 18), MapShape(64, 33, 40, 16)), scale_rates((6, 12, 18), MapShape(64, 8, 3, 16))
        ((6, 12, 18), (1, 2))
    """
    side = min(shape.height, shape.width)
    return tuple(dict.fromkeys(max(1, round(rate * side / _CELLS)) for rate in rates))


def _choose_coarsest(shapes: Mapping[str, MapShape], stride: int) -> str:
    """Return the name of the coarsest map up to a stride, or of the finest if all are coarser."""
    fitting = [name for name, shape in shapes.items() if shape.stride <= stride]
    return fitting[-1] if fitting else next(iter(shapes))
