"""What the convolutional backbones share: stages of blocks, how their weights start."""

import math
from collections.abc import Callable

from torch import nn


def initialise_convolutions(module: nn.Module) -> None:
    """Draw the weights of every convolution below ``module`` from ``N(0, sqrt(2 / (k k C_out)))``, in place.

    ``k`` is the side of the kernel and ``C_out`` the number of output channels that read one input channel, so that the
    variance of the gradients stays the same from layer to layer; in a depthwise convolution that is one.

    Source: He, Zhang, Ren, Sun, Delving Deep into Rectifiers, ICCV 2015, Eq. 14 (https://arxiv.org/abs/1502.01852).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels // layer.groups * math.prod(layer.kernel_size)
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0) / math.sqrt(fan_out))


def stage_of_blocks(
    block: Callable[[int, int, int], nn.Module], in_channels: int, out_channels: int, *, num_blocks: int, stride: int
) -> nn.Sequential:
    """Return blocks in a row, of which the first changes the channels and the size.

    Args:
        block: makes a block from its input channels, its output channels and its stride.
        in_channels: of the first block.
        out_channels: of every block.
        num_blocks: >= 1.
        stride: of the first block; the others have 1.
    """
    first = block(in_channels, out_channels, stride)
    return nn.Sequential(first, *(block(out_channels, out_channels, 1) for _ in range(num_blocks - 1)))
