"""A world in which each class has four sub-clusters that differ by the class they are confused with.

Six classes; twelve contexts, each shared by two classes, which lie on either side of its centre. A class has four.
What MAXL should find are the contexts of a class: that is what the residual of the class head shows.
"""

from dataclasses import replace
from types import MappingProxyType

import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import AbstractBackbone, TrainState
from auxo.layers.sub_classes import SubClasses, negative_entropy
from auxo.methods.maxl import MAXL
from auxo.optimizers import OptimizerConfig
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Features

CLASSES, SUB_CLASSES, INPUTS = 6, 4, 40
DIVIDED = SubClasses((SUB_CLASSES,), num_classes=CLASSES)
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
CONFIG = MAXL.Config(
    optimizer=OptimizerConfig(lr=0.1, momentum=0.0, nesterov=False, weight_decay=1e-4, schedule="constant"),
    generator_optimizer=OptimizerConfig(name="adamw", lr=0.01, weight_decay=0.0, schedule="constant"),
    sub_classes=(SUB_CLASSES,),
    passes="interleaved",
    alpha=0.1,
    entropy_weight=0.1,
    gamma=0.0,
    hidden=0,
)


class Perceptron(AbstractBackbone):
    """Layers of 64 and 32 with ReLU."""

    num_features = 32
    map_channels = MappingProxyType({})

    def __init__(self, *, channels, height, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels * height * width, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())

    def forward(self, images):
        return Features(self.layers(images.flatten(1)), {})


class World:
    """Training and test items, with the true sub-cluster of each."""

    def __init__(self, seed, *, num_train=480, num_test=2000):
        draws = torch.Generator().manual_seed(seed)
        owners, means = self.place(draws)
        turn = torch.linalg.qr(torch.randn(INPUTS, INPUTS, generator=draws)).Q
        self.items = []
        for count in (num_train, num_test):
            chosen = torch.arange(count) % len(means)
            labels = owners[chosen]
            signal = means[chosen] + 0.6 * torch.randn(count, 6, generator=draws)
            loud = 6 * torch.randint(2, (count, 2), generator=draws).mul(2).sub(1) + torch.randn(
                count, 2, generator=draws
            )
            rest = torch.randn(count, 32, generator=draws) * torch.tensor([3.0] * 6 + [1.0] * 26)
            self.items.append((torch.cat([signal, loud, rest], dim=1) @ turn, labels, chosen))
        mean, std = self.items[0][0].mean(0), self.items[0][0].std(0).mean()
        self.items = [((values - mean) / std, labels, chosen) for values, labels, chosen in self.items]

    def place(self, draws):
        """Return the class and the mean of each sub-cluster."""
        edges = [(a, (a + step) % CLASSES) for step in (1, 2) for a in range(CLASSES)]
        centres = 3.2 * torch.randn(len(edges), 6, generator=draws)
        ways = torch.randn(len(edges), 6, generator=draws)
        ways = 0.9 * ways / ways.norm(dim=1, keepdim=True)
        means = torch.stack([centres + ways, centres - ways], dim=1).flatten(0, 1)
        return torch.tensor(edges).flatten(), means

    def batch(self, number, noise=None):
        values, labels, _ = self.items[number]
        if noise is not None:
            values = values + 0.3 * torch.randn(values.shape, generator=noise)
        return Batch(values.view(len(values), INPUTS, 1, 1), {"label": labels}, torch.arange(len(values)))


class CornerWorld(World):
    """Sub-clusters at corners of a cube, given to the classes at random: none is confused with one class alone."""

    def place(self, draws):
        """Return the class and the mean of each sub-cluster."""
        corners = torch.cartesian_prod(*[torch.tensor([-1.5, 1.5])] * 6)
        count = CLASSES * SUB_CLASSES
        return torch.arange(count) % CLASSES, corners[torch.randperm(len(corners), generator=draws)[:count]]


def train(config, seed, *, steps=300, given=None, world=None):
    """Return the method after so many steps of each level, and the world."""
    world, noise = world or World(seed), torch.Generator().manual_seed(seed + 500)
    task = Classification(tuple(map(str, range(CLASSES))), INPUTS, 1, 1, class_counts=(80,) * CLASSES)
    method = config.build(Networks(BackboneConfig(name=f"{__file__}:Perceptron"), task, seed=seed)).train()
    state = TrainState(method.optimizers(), seed=seed)
    for _ in range(steps):
        batch = world.batch(0, noise)
        if given is not None:
            batch = replace(batch, targets={**batch.targets, "sub_class": given})
        state.kind = "first"
        method.update(state, {"train": batch}, RUNTIME)
        if config.labels == "generated":
            state.kind = "second"
            method.update(state, {"second": world.batch(0, noise)}, RUNTIME)
        state.step += 1
    return method.eval(), world


@torch.no_grad()
def label(method, world):
    """Return the most likely sub-class of every training item."""
    return method._generate_labels(world.batch(0)).argmax(1)


@torch.no_grad()
def accuracy(method, world):
    """Return the percentage of test items that are right."""
    batch = world.batch(1)
    return 100 * float((method.predict(batch.images).argmax(1) == batch.labels).double().mean())


def shuffle(found, world, seed):
    """Return the same labels on other items of each class."""
    draws = torch.Generator().manual_seed(seed + 900)
    return DIVIDED.shuffle(found, world.items[0][1], generator=draws)


def cluster(world, seed):
    """Return the clusters of each class in the inputs, by k-means."""
    values, labels, _ = world.items[0]
    return DIVIDED.place(labels, DIVIDED.cluster(values, labels, seed=seed))


def true_labels(world):
    """Return the true sub-clusters as sub-classes."""
    _, labels, chosen = world.items[0]
    return DIVIDED.place(labels, DIVIDED.rank(chosen, labels, column="sub-cluster"))


def quality(found, world):
    """Return I(found; true sub-cluster | class) / H(true sub-cluster | class), and the mean number of labels in use."""
    _, labels, true = world.items[0]
    shared, whole, used = 0.0, 0.0, 0.0
    for number in range(CLASSES):
        own = labels == number
        table = torch.zeros(int(found.max()) + 1, int(true.max()) + 1, dtype=torch.float64)
        table.index_put_((found[own], true[own]), torch.ones(int(own.sum()), dtype=torch.float64), accumulate=True)
        table /= table.sum()
        rows, columns = table.sum(1), table.sum(0)
        shared += float(negative_entropy(table.flatten()) - negative_entropy(rows) - negative_entropy(columns))
        whole -= float(negative_entropy(columns))
        used += int((rows > 0).sum()) / CLASSES
    return shared / whole, used
