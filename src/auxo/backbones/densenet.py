"""DenseNet-40-12 for small images: three dense blocks of twelve layers, growth 12, no bottleneck, no compression."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from auxo.interfaces import AbstractBackbone
from auxo.layers.convolutions import initialise_convolutions
from auxo.types import Features, Images

NAMES = ("densenet40_12",)
SOURCE = (
    "Huang, Liu, van der Maaten, Weinberger, Densely Connected Convolutional Networks, CVPR 2017, Sections 3 and 4 "
    "(https://arxiv.org/abs/1608.06993), in the form of https://github.com/harshita-555/OSSL run with --layers 40 "
    "--growth 12 --no-bottleneck --reduce 1.0: 24 initial channels (the paper: 16), no dropout, 1,054,728 parameters "
    "without heads for three colour channels. Differs: the last maps are averaged whatever their size, where the "
    "released code fixes them to 8x8."
)

_INITIAL_CHANNELS = 24
_GROWTH = 12
_LAYERS_PER_BLOCK = 12
MINIMUM_PIXELS = 8


class DenseNet(AbstractBackbone):
    """A convolution, three dense blocks with two transitions between them, batch norm and ReLU; 456 features.

    Each layer of a block appends 12 channels to its input by one concatenation. That was the fastest way on a CPU, and
    in channels-last memory the smallest too, of those that leave the graph open to higher derivatives.
    Maps: ``stage1`` (168 channels at the size of the image) and ``stage2`` (312 channels at half of it) are the blocks'
    outputs before the transition, ``stage3`` (456 channels at a quarter) is after the last batch norm and ReLU.

    Args:
        channels: colour channels of an image.
    """

    num_features = _INITIAL_CHANNELS + 3 * _LAYERS_PER_BLOCK * _GROWTH

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        grown = _LAYERS_PER_BLOCK * _GROWTH
        widths = [_INITIAL_CHANNELS + i * grown for i in range(3)]
        self.convolution = nn.Conv2d(channels, _INITIAL_CHANNELS, 3, padding=1, bias=False)
        self.map_channels = {f"stage{i + 1}": width + grown for i, width in enumerate(widths)}
        self.block1 = _make_block(widths[0])
        self.transition1 = _Transition(widths[1])
        self.block2 = _make_block(widths[1])
        self.transition2 = _Transition(widths[2])
        self.block3 = _make_block(widths[2])
        self.norm = nn.BatchNorm2d(self.num_features)
        initialise_convolutions(self)

    def forward(self, images: Images) -> Features:
        """Return the mean over the last maps' pixels and the three blocks' maps."""
        stage1 = self.block1(self.convolution(images))
        stage2 = self.block2(self.transition1(stage1))
        stage3 = functional.relu(self.norm(self.block3(self.transition2(stage2))))
        pooled = functional.avg_pool2d(stage3, stage3.shape[-2:]).flatten(1)  # rounds as the released code does
        return Features(pooled, {"stage1": stage1, "stage2": stage2, "stage3": stage3})


class _Layer(nn.Module):
    """Batch norm, ReLU and a convolution whose output is appended to the input."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.convolution = nn.Conv2d(in_channels, _GROWTH, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, self.convolution(functional.relu(self.norm(maps)))], dim=1)


class _Transition(nn.Module):
    """Batch norm, ReLU, a pointwise convolution that keeps the channels, and average pooling to half the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.convolution = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.avg_pool2d(self.convolution(functional.relu(self.norm(maps))), 2)


def _make_block(in_channels: int) -> nn.Sequential:
    """Return a dense block; its output has ``in_channels`` and twelve times twelve more."""
    return nn.Sequential(*(_Layer(in_channels + i * _GROWTH) for i in range(_LAYERS_PER_BLOCK)))


def build(name: str, *, channels: int, height: int, width: int) -> DenseNet:
    """Return a DenseNet-40-12.

    Args:
        name: ``"densenet40_12"``.
        channels: colour channels of an image.
        height: pixels, >= ``MINIMUM_PIXELS``; the network is the same for every size.
        width: pixels, >= ``MINIMUM_PIXELS``.

    Example:
        >>> sum(p.numel() for p in build("densenet40_12", channels=3, height=32, width=32).parameters())
        1054728
    """
    del name, height, width
    return DenseNet(channels=channels)
