"""VGG-16 with batch norm for small images: thirteen convolutions in five stages, 512 features."""

from types import MappingProxyType
from typing import cast

import torch
from torch import nn

from auxo.interfaces import AbstractBackbone
from auxo.types import Features, Images

NAMES = ("vgg16",)
SOURCE = (
    "Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, configuration "
    "D (https://arxiv.org/abs/1409.1556), in the form that the released code of MAXL has for 32 pixels "
    "(github.com/lorenmt/maxl): batch norm after every convolution, weights Xavier-uniform, biases zero, no layer of "
    "4096. Differs: the maps of the last stage are averaged, which changes nothing at 32 pixels, where one is left."
)

MINIMUM_PIXELS = 32
_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(AbstractBackbone):
    """Five stages of convolutions of 3 x 3 with batch norm and ReLU, each ending in max pooling; 512 features.

    Maps: ``stage1`` to ``stage5``, after pooling: a half to a thirty-second of the image's side, rounded down.

    Args:
        channels: colour channels of an image.
    """

    num_features = 512
    map_channels = MappingProxyType({f"stage{k + 1}": widths[-1] for k, widths in enumerate(_WIDTHS)})

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for widths in _WIDTHS:
            layers: list[nn.Module] = []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(cast("torch.Tensor", layer.bias))

    def forward(self, images: Images) -> Features:
        """Return the mean over the last stage's pixels and the five stages' maps."""
        maps = {}
        for number, stage in enumerate(self.stages):
            images = stage(images)
            maps[f"stage{number + 1}"] = images
        return Features(images.mean(dim=(2, 3)), maps)


def build(name: str, *, channels: int, height: int, width: int) -> VGG16:
    """Return a VGG-16.

    Args:
        name: ``"vgg16"``.
        channels: colour channels of an image.
        height: pixels, at least 32; the weights do not depend on it.
        width: pixels, at least 32; the weights do not depend on it.
    """
    del name, height, width
    return VGG16(channels=channels)
