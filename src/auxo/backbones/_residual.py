"""The residual blocks whose sum is activated, of two or three convolutions, which the residual networks share."""

from torch import Tensor, nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, added to a shortcut of their input, and ReLU.

    Source: He, Zhang, Ren, Sun, Deep Residual Learning for Image Recognition, CVPR 2016, Section 3.2 and Figure 2
    (https://arxiv.org/abs/1512.03385).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the first convolution.
        shortcut: brings the input to the shape of the output.

    Attributes:
        expansion: channels of the output for each in the block.
    """

    expansion = 1

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, shortcut: nn.Module) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Return the activated sum of the residual and the shortcut."""
        residual = self.norm2(self.convolution2(functional.relu(self.norm1(self.convolution1(maps)))))
        return functional.relu(residual + self.shortcut(maps))


class BottleneckBlock(nn.Module):
    """A pointwise, a 3x3 and a pointwise convolution with batch norm, added to a shortcut of their input, and ReLU.

    Source: as :class:`ResidualBlock`, Figure 5. The 3x3 convolution has the stride, in the paper the first one.

    Args:
        in_channels: of the input.
        out_channels: of the output, four times those in the block.
        stride: of the second convolution.
        shortcut: brings the input to the shape of the output.

    Attributes:
        expansion: channels of the output for each in the block.
    """

    expansion = 4

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, shortcut: nn.Module) -> None:
        super().__init__()
        width = out_channels // self.expansion
        self.convolution1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.convolution2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.convolution3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Return the activated sum of the residual and the shortcut."""
        residual = functional.relu(self.norm1(self.convolution1(maps)))
        residual = functional.relu(self.norm2(self.convolution2(residual)))
        return functional.relu(self.norm3(self.convolution3(residual)) + self.shortcut(maps))
