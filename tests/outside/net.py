"""A backbone outside auxo."""

from types import MappingProxyType

import torch
from torch import nn

from auxo.interfaces import AbstractBackbone
from auxo.types import Features

SOURCE = "Nobody, 2026."


class TinyNet(AbstractBackbone):
    """Two convolutions that keep the size of the image."""

    num_features = 8
    map_channels = MappingProxyType({"fine": 8})

    def __init__(self, *, channels, height, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
        )

    def forward(self, images):
        fine = self.layers(images)
        return Features(torch.flatten(fine.mean((2, 3)), 1), {"fine": fine})
