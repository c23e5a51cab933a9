"""Residual networks for small images: 8, 20 or 32 layers, 16 to 64 channels, shortcuts without parameters."""

from types import MappingProxyType
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from auxo.backbones._convolutional import stage_of_blocks
from auxo.backbones._residual import ResidualBlock
from auxo.interfaces import AbstractBackbone
from auxo.layers.convolutions import initialise_convolutions
from auxo.types import Features, Images

NAMES = ("resnet8", "resnet20", "resnet32", "resnet32_fan_in")
SOURCE = (
    "He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016, Section 4.2, shortcuts of option A "
    "(https://arxiv.org/abs/1512.03385). Differs: the new channels of a shortcut are added half before and half after "
    "the old ones (the paper leaves their place open), and images may have any size from 8 pixels. With three colour "
    "channels and a head of ten classes: resnet8 75,290, resnet20 269,722, resnet32 464,154 parameters (the paper: "
    "0.27M and 0.46M for 20 and 32 layers; it has no network of 8 layers). resnet32_fan_in is resnet32 with first "
    "weights by the number of inputs, as github.com/akamaster/pytorch_resnet_cifar10 has them, and after it the "
    "released codes of LDAM-DRW (kaidic/LDAM-DRW) and G-SSL."
)

_BLOCKS_PER_STAGE = {"resnet8": 1, "resnet20": 3, "resnet32": 5, "resnet32_fan_in": 5}
MINIMUM_PIXELS = 8


class ResNetCIFAR(AbstractBackbone):
    """A convolution and three stages of residual blocks with 16, 32 and 64 channels; 64 features.

    Maps: ``stage1`` at the size of the image, ``stage2`` at half and ``stage3`` at a quarter of it, rounded up.

    Args:
        channels: colour channels of an image.
        blocks_per_stage: residual blocks of two convolutions in each stage; the depth is six times this plus two.
        fan: what first weights of convolutions go by, see :func:`auxo.layers.convolutions.initialise_convolutions`.
    """

    num_features = 64
    map_channels = MappingProxyType({"stage1": 16, "stage2": 32, "stage3": 64})

    def __init__(self, *, channels: int, blocks_per_stage: int, fan: Literal["out", "in"] = "out") -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.stage1 = stage_of_blocks(_make_block, 16, 16, num_blocks=blocks_per_stage, stride=1)
        self.stage2 = stage_of_blocks(_make_block, 16, 32, num_blocks=blocks_per_stage, stride=2)
        self.stage3 = stage_of_blocks(_make_block, 32, 64, num_blocks=blocks_per_stage, stride=2)
        initialise_convolutions(self, fan=fan)

    def forward(self, images: Images) -> Features:
        """Return the mean over the last stage's pixels and the three stages' maps."""
        stage1 = self.stage1(functional.relu(self.norm(self.convolution(images))))
        stage2 = self.stage2(stage1)
        stage3 = self.stage3(stage2)
        return Features(stage3.mean(dim=(2, 3)), {"stage1": stage1, "stage2": stage2, "stage3": stage3})


class _PaddedShortcut(nn.Module):
    """Every ``stride``-th pixel, with zeros for the channels that the input lacks (option A)."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        before = self.new_channels // 2
        return functional.pad(
            maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.new_channels - before)
        )


def _make_block(in_channels: int, out_channels: int, stride: int) -> ResidualBlock:
    """Return a block whose shortcut has no parameters."""
    is_identity = stride == 1 and in_channels == out_channels
    shortcut = nn.Identity() if is_identity else _PaddedShortcut(out_channels - in_channels, stride)
    return ResidualBlock(in_channels, out_channels, stride, shortcut=shortcut)


def build(name: str, *, channels: int, height: int, width: int) -> ResNetCIFAR:
    """Return a residual network for small images.

    Args:
        name: one of ``NAMES``.
        channels: colour channels of an image.
        height: pixels, >= ``MINIMUM_PIXELS``; the network is the same for every size.
        width: pixels, >= ``MINIMUM_PIXELS``.

    Example:
        >>> sum(p.numel() for p in build("resnet20", channels=3, height=32, width=32).parameters())
        269072
    """
    del height, width
    fan: Literal["out", "in"] = "in" if name.endswith("_fan_in") else "out"
    return ResNetCIFAR(channels=channels, blocks_per_stage=_BLOCKS_PER_STAGE[name], fan=fan)
