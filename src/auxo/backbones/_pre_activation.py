"""Networks of residual blocks that normalise and activate before they convolve: wide and plain pre-activation nets."""

from collections.abc import Sequence

from torch import Tensor, nn

from auxo.backbones._convolutional import stage_of_blocks
from auxo.interfaces import AbstractBackbone
from auxo.layers.convolutions import initialise_convolutions
from auxo.types import Features, Images


class PreActivationNetwork(AbstractBackbone):
    """A convolution, stages of pre-activation blocks, batch norm and activation, and the mean over the pixels.

    Maps: ``stage1`` at the size of the image, and each further stage at half the size of the one before, rounded up.
    All but the last are sums of a residual and a shortcut, without activation; the last is taken after the last batch
    norm and activation, so that its mean is the pooled vector.

    Source: He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks, ECCV 2016, Figure 4(e) and the appendix
    (https://arxiv.org/abs/1603.05027).

    Args:
        channels: colour channels of an image.
        first_width: channels of the first convolution.
        widths: channels of each stage; the last is the number of features.
        blocks_per_stage: blocks of two convolutions in each stage.
        negative_slope: of the activation below zero; 0 is ReLU.
        momentum: weight of a new batch in the running statistics of batch norm, in (0, 1].
    """

    def __init__(
        self,
        *,
        channels: int,
        first_width: int,
        widths: Sequence[int],
        blocks_per_stage: int,
        negative_slope: float = 0.0,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()

        def block(in_channels: int, out_channels: int, stride: int) -> nn.Module:
            activations = [_normalised_activation(n, negative_slope, momentum) for n in (in_channels, out_channels)]
            return _Block(in_channels, out_channels, stride, *activations)

        self.num_features = widths[-1]
        self.map_channels = {f"stage{number}": width for number, width in enumerate(widths, start=1)}
        self.convolution = nn.Conv2d(channels, first_width, 3, padding=1, bias=False)
        before = (first_width, *widths)
        self.stages = nn.ModuleList(
            stage_of_blocks(block, before[i], width, num_blocks=blocks_per_stage, stride=2 if i else 1)
            for i, width in enumerate(widths)
        )
        self.activation = _normalised_activation(widths[-1], negative_slope, momentum)
        initialise_convolutions(self)

    def forward(self, images: Images) -> Features:
        """Return the mean over the last map's pixels and the stages' maps."""
        last = self.convolution(images)
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            last = maps[f"stage{number}"] = stage(last)
        last = maps[f"stage{len(self.stages)}"] = self.activation(last)
        return Features(last.mean(dim=(2, 3)), maps)


class _Block(nn.Module):
    """Twice batch norm, activation and convolution, added to the input.

    Where the shape changes, the input of both paths is activated and a pointwise convolution brings it to the new
    shape; else the untouched input is added.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, activation1: nn.Module, activation2: nn.Module
    ) -> None:
        super().__init__()
        self.activation1 = activation1
        self.convolution1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.activation2 = activation2
        self.convolution2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        is_identity = stride == 1 and in_channels == out_channels
        self.shortcut = None if is_identity else nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        active = self.activation1(maps)
        residual: Tensor = self.convolution2(self.activation2(self.convolution1(active)))
        return residual + (maps if self.shortcut is None else self.shortcut(active))


def _normalised_activation(channels: int, negative_slope: float, momentum: float) -> nn.Sequential:
    """Return batch norm followed by the activation."""
    activation = nn.LeakyReLU(negative_slope) if negative_slope else nn.ReLU()
    return nn.Sequential(nn.BatchNorm2d(channels, momentum=momentum), activation)
