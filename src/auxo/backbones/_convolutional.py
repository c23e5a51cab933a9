"""Stages of blocks, which the convolutional backbones share."""

from collections.abc import Callable

from torch import nn


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
