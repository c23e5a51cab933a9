"""A world in which an item between two others is of a class that neither of them is of.

Five classes lie one after the other on a line that is hidden among noise. Those at its ends have many labels, those
between have two each: a mixture of items of the two ends is an item of the middle class, which manifold mixup labels as
half of each end, and which a generator can learn to label.
"""

from dataclasses import replace
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.interfaces import AbstractBackbone, TrainState
from auxo.layers.joint_generator import Generated
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.optimizers import OptimizerConfig
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Features

INPUTS, CLASSES, COUNTS, HELD_OUT, STEPS = 30, 5, (20, 2, 2, 2, 20), 30, 300
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
ADAM = OptimizerConfig(name="adamw", lr=0.01, weight_decay=1e-3, schedule="constant")
CONFIG = DTGAuxL.Config(
    optimizer=ADAM,
    generator_optimizer=replace(ADAM, weight_decay=0.0),
    shared_head=True,
    upper="meta",
    upper_every=3,
    scale=0.02,
    regularizer=0.0,
    hidden=32,
)
LINES = {
    "alone": replace(CONFIG, weight=0.0),
    "DTG": CONFIG,
    "no implicit gradient": replace(CONFIG, scale=1e-12),
    "frozen": replace(CONFIG, generator="frozen"),
    "manifold mixup": replace(CONFIG, generator="manifold_mixup"),
}


class Perceptron(AbstractBackbone):
    """A hidden layer of 16 with ReLU, and eight features."""

    num_features = 8
    map_channels = MappingProxyType({})

    def __init__(self, *, channels, height, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels * height * width, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, images):
        return Features(self.layers(images.flatten(1)), {})


class World:
    """Training items, a few that are held out, and test items, with their places on the line."""

    def __init__(self, seed):
        draws = torch.Generator().manual_seed(seed)
        turn = torch.linalg.qr(torch.randn(INPUTS, INPUTS, generator=draws)).Q
        self.items = {}
        for name, classes in (
            ("train", torch.arange(CLASSES).repeat_interleave(torch.tensor(COUNTS))),
            ("meta", torch.arange(HELD_OUT) % CLASSES),
            ("test", torch.arange(2000) % CLASSES),
        ):
            places = (classes + torch.rand(len(classes), generator=draws)) / CLASSES
            noise = torch.randn(len(classes), INPUTS - 1, generator=draws)
            self.items[name] = (torch.cat([6 * (places - 0.5).unsqueeze(1), noise], 1) @ turn, classes, places)

    def batch(self, *names):
        """The items of some splits together."""
        values, classes, _ = (torch.cat(parts) for parts in zip(*(self.items[name] for name in names), strict=True))
        return Batch(values.view(len(values), INPUTS, 1, 1), {"label": classes}, torch.arange(len(classes)))


def tell_truth(method, world, seed):
    """Let a method mix at random places, and label a mixture by where it lies: the oracle."""
    draws, places = torch.Generator().manual_seed(seed), world.items["train"][2]

    def generate(pair, pairing):
        share = torch.rand(len(places), 1, generator=draws)
        between = share[:, 0] * places + (1 - share[:, 0]) * places[pairing.partners]
        targets = functional.one_hot((CLASSES * between).long().clamp(max=CLASSES - 1), CLASSES).float()
        features = share * pair.own.features + (1 - share) * pair.partner.features
        return Generated(features, targets, pair.own.known)

    method.generated.generate = generate


def train(config, seed, *, splits=("train",), is_oracle=False, steps=STEPS):
    """Return the method after so many steps of the task model, and the world."""
    world = World(seed)
    task = Classification(tuple("abcde"), INPUTS, 1, 1)
    method = config.build(Networks(BackboneConfig(name=f"{__file__}:Perceptron"), task, seed=seed)).train()
    if is_oracle:
        tell_truth(method, world, seed)
    shown = {"train": world.batch(*splits), "upper": world.batch("meta")}
    state, done = TrainState(method.optimizers(), seed=seed), 0
    while done < steps:
        state.kind = config.plan(state.step, {}).kind
        method.update(state, shown, RUNTIME)
        state.step += 1
        done += state.kind == "lower"
    return method.eval(), world


@torch.no_grad()
def accuracy(method, world):
    """Return the percentage of test items that are right."""
    batch = world.batch("test")
    return 100 * float((method.predict(batch.images).argmax(1) == batch.labels).double().mean())
