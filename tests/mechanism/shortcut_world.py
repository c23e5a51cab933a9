"""A world with a loud shortcut: x* = ±1 tells the class, and x_v = ±1 the column, which mostly agrees with it.

Twenty-two numbers: x* with standard deviation 1.2, x_v with 0.3, and noise. P(Y = 1) = 0.3, and the column agrees with
the class in nine of ten items.
"""

from types import MappingProxyType

import torch
from torch import nn
from torchmetrics.functional.classification import binary_auroc

from auxo.backbones import BackboneConfig
from auxo.interfaces import AbstractBackbone, TrainState
from auxo.layers.cell_weights import count_cells, independence_weights
from auxo.losses.invariance.mmd import MMD
from auxo.losses.invariance.none import NoPenalty
from auxo.losses.kernels.rbf import RBF
from auxo.methods.shortcut_removal import ShortcutRemoval
from auxo.optimizers import OptimizerConfig
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch, Features

INPUTS, NUM_TRAIN, NUM_TEST, EPOCHS, SIZE = 22, 1500, 4000, 20, 64
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
PENALTY = MMD.Config(weight=3.0, kernel=RBF(sigma=3.0))
_ADAM = OptimizerConfig(name="adamw", lr=2e-3, weight_decay=0.0, schedule="constant")


def configure(invariance, weighting="none"):
    return ShortcutRemoval.Config(column="place", weighting=weighting, invariance=invariance, optimizer=_ADAM)


LINES = {
    "ERM": configure(NoPenalty.Config()),
    "weighted ERM": configure(NoPenalty.Config(), "product"),
    "MMD": configure(PENALTY),
    "weighted MMD": configure(PENALTY, "product"),
}


class Perceptron(AbstractBackbone):
    """A hidden layer of 32 with ReLU, and 16 linear features."""

    num_features = 16
    map_channels = MappingProxyType({})

    def __init__(self, *, channels, height, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels * height * width, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, images):
        return Features(self.layers(images.flatten(1)), {})


class Detached(MMD):
    """The twin whose penalty has no gradient."""

    def forward(self, rows):
        return super().forward(rows._replace(embedding=rows.embedding.detach()))


def draw(count, agreement, draws):
    """Items, their classes and their values of the column."""
    classes = (torch.rand(count, generator=draws) < 0.3).long()
    values = torch.where(torch.rand(count, generator=draws) < agreement, classes, 1 - classes)
    items = torch.randn(count, INPUTS, generator=draws)
    items[:, 0] = 2 * classes - 1 + 1.2 * items[:, 0]
    items[:, 1] = 2 * values - 1 + 0.3 * items[:, 1]
    return items, classes, values


def train(config, seed, *, is_shuffled=False, twin=None):
    """Return the area under the ROC curve where the column agrees in 0.1, 0.5 and 0.9 of the items.

    Args:
        config: of the method.
        seed: of world, first weights and order.
        is_shuffled: give the column to other items.
        twin: what stands for the penalty.
    """
    draws = torch.Generator().manual_seed(seed)
    items, classes, values = draw(NUM_TRAIN, 0.9, draws)
    values = values[torch.randperm(NUM_TRAIN, generator=draws)] if is_shuffled else values
    task = Classification(("a", "b"), INPUTS, 1, 1)
    networks = Networks(
        BackboneConfig(name=f"{__file__}:Perceptron"), task, seed=seed, columns={"place": Target("place", ("p", "q"))}
    )
    method = config.build(networks).train()
    method.invariance = method.invariance if twin is None else twin(config.invariance, num_classes=2, num_values=2)
    counts = count_cells(classes, values, shape=(2, 2))
    table = independence_weights(counts).float() if config.weighting == "product" else torch.ones(2, 2)
    state = TrainState(method.optimizers(), seed=seed, prepared={"cell_weights": table})
    for _ in range(EPOCHS):
        for part in torch.randperm(NUM_TRAIN, generator=draws).split(SIZE):
            images = items[part].view(len(part), INPUTS, 1, 1)
            method.update(
                state, {"train": Batch(images, {"label": classes[part], "place": values[part]}, part)}, RUNTIME
            )
            state.step += 1
    return {agreement: judge(method.eval(), agreement, seed) for agreement in (0.1, 0.5, 0.9)}


@torch.no_grad()
def judge(method, agreement, seed):
    """Return the area under the ROC curve in percent."""
    items, classes, _ = draw(NUM_TEST, agreement, torch.Generator().manual_seed(seed + 1000))
    logits = method.predict(items.view(NUM_TEST, INPUTS, 1, 1))
    return 100 * float(binary_auroc(logits[:, 1] - logits[:, 0], classes))
