"""A world in which the only auxiliary task that is given does harm: what is loud, and tells nothing of the class.

The input is a rotation of four dimensions that the class depends on, eight loud ones, and noise. The given task is the
sign of the sum of the loud ones, and the network has four units for both.
"""

from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import nn
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.interfaces import AbstractBackbone, TrainState
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GivenTasksConfig
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch, Features

CLASSES, INPUTS, LABELLED, SHOWN, STEPS = 5, 40, 120, 200, 600
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
EASY = {"easy": Target("easy", ("minus", "plus"))}
ADAM = OptimizerConfig(name="adamw", lr=0.01, weight_decay=0.0, schedule="cosine", moves="step")
# Of 320 items 120 are labelled, so that one pair in seven has both labels: the weight makes up for that.
CONFIG = DTGAuxL.Config(
    optimizer=ADAM,
    generator_optimizer=OptimizerConfig(name="adamw", lr=0.01, weight_decay=0.0, schedule="constant"),
    given=GivenTasksConfig(columns=("easy",)),
    weight=7.0,
    hidden=32,
    scale=0.1,
)
LINES = {
    "single": None,
    "equal": replace(CONFIG, weight=0.0),
    "DTG": CONFIG,
    "no implicit gradient": replace(CONFIG, scale=1e-12),
    "no regulariser": replace(CONFIG, regularizer=0.0),
    "frozen": replace(CONFIG, generator="frozen"),
    "manifold mixup": replace(CONFIG, generator="manifold_mixup"),
    "equal, a quarter": replace(CONFIG, weight=0.0, given_weight=0.25),
}


@dataclass(frozen=True)
class FewLabels(Classification):
    """Classes that only some items of a batch have; their losses stand for all."""

    def losses(self, outputs, targets):
        labels = targets["label"]
        share = (labels >= 0).float().mean()
        return functional.cross_entropy(outputs, labels, ignore_index=-1, reduction="none") / share


class Bottleneck(AbstractBackbone):
    """Four units with tanh."""

    num_features = 4
    map_channels = MappingProxyType({})

    def __init__(self, *, channels, height, width):
        super().__init__()
        self.layer = nn.Linear(channels * height * width, 4)

    def forward(self, images):
        return Features(torch.tanh(self.layer(images.flatten(1))), {})


class World:
    """Labelled items, others, and test items."""

    def __init__(self, seed):
        draws = torch.Generator().manual_seed(seed)
        turn = torch.linalg.qr(torch.randn(INPUTS, INPUTS, generator=draws)).Q
        ways = torch.randn(4, CLASSES, generator=draws)
        count = LABELLED + 2000 + 2000
        signal, loud = torch.randn(count, 4, generator=draws), 3 * torch.randn(count, 8, generator=draws)
        rest = torch.randn(count, INPUTS - 12, generator=draws)
        values = torch.cat([signal, loud, rest], 1) @ turn
        self.values = ((values - values.mean(0)) / values.std(0)).view(count, INPUTS, 1, 1)
        self.labels = (1.5 * torch.tanh(signal) @ ways).argmax(1)
        self.easy = (loud.sum(1) > 0).long()

    def batch(self, chosen, num_labelled):
        """The items at some places, of which the first few have their classes."""
        labels = torch.where(torch.arange(len(chosen)) < num_labelled, self.labels[chosen], -1)
        return Batch(self.values[chosen], {"label": labels, "easy": self.easy[chosen]}, chosen)

    def show(self, draws):
        """All labelled items and some of the others."""
        others = LABELLED + torch.randint(2000, (SHOWN,), generator=draws)
        return self.batch(torch.cat([torch.arange(LABELLED), others]), LABELLED)


def train(config, seed, *, steps=STEPS):
    """Return the method after so many steps of the task model, the world, and the last metrics of the generator."""
    if config is None:
        config = replace(CONFIG, weight=0.0, given=GivenTasksConfig())
    world, draws = World(seed), torch.Generator().manual_seed(seed + 500)
    task = FewLabels(tuple(map(str, range(CLASSES))), INPUTS, 1, 1)
    method = config.build(
        Networks(BackboneConfig(name=f"{__file__}:Bottleneck"), task, seed=seed, columns=EASY)
    ).train()
    state, told, done = TrainState(method.optimizers(), seed=seed), {}, 0
    schedule = config.optimizer.build_schedule(state.optimizers["main"], num_epochs=1, steps_per_epoch=steps)
    while done < steps:
        state.kind = config.plan(state.step, {}).kind
        batches = {"train": world.show(draws)}
        if state.kind == "upper":
            batches["upper"] = world.show(draws)
        metrics = method.update(state, batches, RUNTIME)
        state.step += 1
        if state.kind == "upper":
            told = metrics
        else:
            schedule.step()
            done += 1
    return method.eval(), world, told


@torch.no_grad()
def accuracy(method, world):
    """Return the percentage of test items that are right."""
    places = torch.arange(LABELLED + 2000, len(world.labels))
    found = method.predict(world.values[places]).argmax(1)
    return 100 * float((found == world.labels[places]).double().mean())
