"""What the options of decoders, objectives and labellers of pixels are asked by."""

from dataclasses import replace
from types import MappingProxyType

import torch
from torch import nn

from auxo.interfaces import AbstractBackbone, AbstractImageReader, StageStart
from auxo.layers.decoders import MapShape, PixelNetwork
from auxo.layers.decoders.linear import Linear
from auxo.pretexts.labellers import LabelTools
from auxo.random import Draws, named_generator
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch, Features, Normalisation

COLUMNS = (("one", 1), ("two", 2))  # with the seeds of their values
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


def use_decoder(config):
    """First weights, and the features of maps of three sizes."""
    shapes = {
        "one": MapShape(3, 40, 40, 1),
        "two": MapShape(4, 32, 32, 2),
        "three": MapShape(5, 24, 24, 4),
        "four": MapShape(6, 17, 17, 16),
    }
    decoder = config.build(shapes, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    maps = {
        name: torch.rand(1, shape.channels, shape.height, shape.width, generator=generator)
        for name, shape in shapes.items()
    }
    return [*decoder.parameters(), decoder(maps).mean((2, 3))]


def use_objective(config):
    """First weights, and the losses of two steps; with a memory, too, to which an option belongs."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 6, 8, 8, generator=generator)
    labels = torch.arange(8).repeat(4, 8, 1) % 4 // 2  # two of them, the same in every image
    made = []
    for each in (config, replace(config, memory=20)) if hasattr(config, "memory") else (config,):
        objective = each.build(6, num_labels=2, seed=0)
        made += [weight.clone() for weight in objective.parameters()]
        for step in range(2):
            batch = Batch(features, {}, torch.arange(4))
            draws = Draws(named_generator(0, "pixels", step))
            made.append(objective(features, labels, batch=batch, draws=draws, runtime=RUNTIME).loss)
    return made


class MapNet(AbstractBackbone):
    """A convolution whose map has the name of a column, and another of its map with many channels."""

    def __init__(self, seed):
        super().__init__()
        self.num_features, self.map_channels = 70, {COLUMNS[1][0]: 6, "coarse": 70}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 70, 3, stride=2, padding=1)

    def forward(self, images):
        fine = self.first(images).relu()
        coarse = self.second(fine).relu()
        return Features(coarse.mean((2, 3)), {COLUMNS[1][0]: fine, "coarse": coarse})


class Pixels(AbstractImageReader):
    """Small images of noise under waves, with masks."""

    split = "train"
    waves = torch.sin(torch.arange(12.0) * torch.tensor([0.5, 1.0, 1.5])[:, None])[torch.arange(6) % 3]
    noise = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(5))
    images = (100 + 60 * waves[:, None, None] + 60 * noise).clamp(0, 255).to(torch.uint8)
    targets = MappingProxyType({"mask": (images[:, 0] > 120).to(torch.uint8)})

    def __len__(self):
        return 6

    def read(self, function):
        places = torch.arange(6)
        given = Normalisation(torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.2))
        batch = Batch(given.to_inputs(self.images / 255), self.targets, places, normalisation=given)
        with torch.no_grad():
            return function(batch)

    def features(self, network=None):
        raise AssertionError("a labeller of pixels asks for no pooled features")

    def pixels(self, positions):
        return self.images[positions]


def use_labeller(config):
    """The labels of all pixels, and centroids; after a few steps where it trains, also with clusters."""
    cases = [config]
    if hasattr(config, "min_confidence"):
        short = replace(config, steps=max(1, config.steps // 20))
        sure = replace(short, min_confidence=0.0)
        cases = [short, sure, replace(sure, clusters=6)]  # an option belongs to the clusters
    images = Pixels()
    start = StageStart({"train": images}, 0, torch.device("cpu"))

    def build_network():
        backbone = MapNet(1)
        with torch.random.fork_rng():
            torch.manual_seed(2)
            return PixelNetwork(backbone, Linear(COLUMNS[1][0], 6), nn.Conv2d(6, 2, 1))

    tools = LabelTools(2, 12, 12, MapNet(3).eval(), lambda source: MapNet(10 + len(source)).eval(), build_network)
    made = []
    for labeller in (each.fit(images, start, tools) for each in cases):
        directions = vars(labeller).get("_directions")
        made += [images.read(labeller.label), *([] if directions is None else [directions.centroids])]
    return made
