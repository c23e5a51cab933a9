"""What convolutional networks share: first weights, a convolution with batch norm and ReLU, enlarging of maps."""

import math
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def initialise_convolutions(module: nn.Module, *, fan: Literal["out", "in"] = "out") -> None:
    """Draw the weights of every convolution below ``module`` from ``N(0, sqrt(2 / (k k C)))``, in place.

    ``k`` is the side of the kernel. ``C`` is the number of output channels that read one input channel (out), so that
    the variance of the gradients stays the same from layer to layer, or of input channels that one output channel reads
    (in), which does the same for the maps; in a depthwise convolution either is one.

    Source: He, Zhang, Ren, Sun, Delving Deep into Rectifiers, ICCV 2015, Eq. 14 for out and 10 for in
    (https://arxiv.org/abs/1502.01852).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            count = (layer.out_channels if fan == "out" else layer.in_channels) // layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0) / math.sqrt(count * math.prod(layer.kernel_size)))


def build_convolution(
    in_channels: int, out_channels: int, *, size: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Return a convolution without bias, batch norm and ReLU; a map's size is divided by the stride, rounded up.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        size: side of the kernel, odd.
        stride: >= 1.
        dilation: distance of the kernel's cells, >= 1.
    """
    padding = size // 2 * dilation
    convolution = nn.Conv2d(
        in_channels, out_channels, size, stride=stride, padding=padding, dilation=dilation, bias=False
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def enlarge_maps(
    maps: Float[Tensor, "n channels _ _"], size: tuple[int | torch.SymInt, int | torch.SymInt]
) -> Float[Tensor, "n channels height width"]:
    """Return maps of another size by bilinear interpolation between the centres of their cells.

    Args:
        maps: of any size.
        size: height and width to bring them to; symbols while a graph for any size is traced.
    """
    # No short cut for an equal size: a graph that is traced for any size could not decide it.
    sides = cast("tuple[int, int]", size)
    return functional.interpolate(maps, size=sides, mode="bilinear", align_corners=False)
