"""A network that classifies pixels: backbone, decoder and classifier in a row."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.layers.decoders._interface import AbstractDecoder
from auxo.layers.modes import evaluation_mode


class PixelOutputs(NamedTuple):
    """What a network of pixels says of images, at the resolution of its decoder.

    Args:
        features: of the decoder.
        logits: of the classes.
    """

    features: Float[Tensor, "n features rows columns"]
    logits: Float[Tensor, "n classes rows columns"]


class PixelNetwork(nn.Module):
    """A backbone, a decoder and a classifier of the decoder's features.

    Args:
        backbone: an :class:`auxo.interfaces.AbstractBackbone`.
        decoder: built for its maps.
        classifier: a 1x1 convolution on the decoder's features, see :func:`auxo.layers.heads.pixel_head`.
    """

    def __init__(self, backbone: nn.Module, decoder: AbstractDecoder, classifier: nn.Conv2d) -> None:
        super().__init__()
        self.backbone, self.decoder, self.classifier = backbone, decoder, classifier

    def forward(self, images: Float[Tensor, "n channels height width"]) -> PixelOutputs:
        """Return features and logits of normalised images, at the decoder's resolution."""
        features: Tensor = self.decoder(self.backbone(images).maps)
        return PixelOutputs(features, self.classifier(features))

    def measure_features(self, image_shape: tuple[int, int, int]) -> tuple[int, int]:
        """Return the rows and columns of the features of images: one pass of a blank one, which moves no statistics.

        Args:
            image_shape: channels, height and width of the images.
        """
        with evaluation_mode(self), torch.no_grad():
            _, _, rows, columns = self(next(self.parameters()).new_zeros(1, *image_shape)).features.shape
        return rows, columns
