"""The running statistics that an alternation of BiSSL leaves under ``move``, against passes that are all run."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from auxo.interfaces import AbstractBackbone, TrainState
from auxo.methods.bissl import BiSSL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.simclr import SimCLR
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.solvers.layerwise import LayerwiseSolver
from auxo.tasks import Classification
from auxo.types import Batch, Features

from .bissl_algebra import relative
from .bissl_plain import SGD, Levels, Options, Views, alternation

LOWER, UPPER, PRODUCTS, COUNT = 20, 8, 5, 6
TASK = Classification(class_names=("a", "b"), channels=1, height=4, width=4)
STEPS = OptimizerConfig(lr=1e-3, nesterov=False, momentum=0.9, weight_decay=0.0, schedule="constant")
CONFIG = BiSSL.Config(
    pretext=SimCLR.Config(hidden=4, outputs=3),
    optimizer=STEPS, lower_optimizer=STEPS, pretext_ratio=1, curvature_ratio=1, batch_norm="move",
    solver=LayerwiseSolver(damping=1000.0),
)  # fmt: skip
RUNTIME = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))


class Small(AbstractBackbone):
    """Two normalised layers: the first sees the images, the other what the first makes of them."""

    def __init__(self):
        super().__init__()
        self.num_features = 3
        self.net = nn.Sequential(
            nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(),
            nn.Flatten(), nn.Linear(8, 3), nn.BatchNorm1d(3), nn.Tanh(),
        )  # fmt: skip

    def forward(self, images):
        return Features(self.net(images), {})


class Pooled(nn.Module):
    """A backbone that returns the vector alone."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, images):
        return self.backbone(images).pooled


def images(number, *, mean):
    return mean + torch.randn(number, COUNT, 1, 4, 4)


def batch(pixels, labels=None):
    answers = torch.full((COUNT,), -1) if labels is None else labels
    return Batch(pixels, {"label": answers}, torch.arange(COUNT))


def statistics(levels):
    """Return the running statistics of backbone and heads, by name."""
    parts = {"backbone": levels.pretext_backbone, "pretext": levels.pretext_head}
    found = {f"{part}.{name}": value for part, net in parts.items() for name, value in net.named_buffers()}
    return {name: value for name, value in found.items() if "running" in name or "tracked" in name}


def levels_of(method):
    return Levels(
        Pooled(method.backbone), method.pretext.projector, Pooled(method.upper.backbone), method.upper.semantic
    )


def alternate(method, config, pairs, labelled, labels):
    """Take auxo's alternation."""
    state = TrainState(method.optimizers(), seed=0, num_steps=LOWER + UPPER)
    curvature = {f"curvature_{name}": batch(view) for name, view in zip(("first", "second"), pairs[-1], strict=True)}
    for step in range(LOWER + UPPER):
        plan = config.plan(step, {})
        state.step, state.kind = step, plan.kind
        if step < LOWER:
            shown = {"first": batch(pairs[step][0]), "second": batch(pairs[step][1])}
        else:
            shown = {"train": batch(labelled[step - LOWER], labels), **curvature}
        method.update(state, shown, RUNTIME)


@pytest.mark.usefixtures("float64")
def test_alternation__batch_norm_move__leaves_the_statistics_of_every_released_pass():
    method = CONFIG.build(Networks(Small(), TASK, seed=0)).double().train()
    levels = levels_of(deepcopy(method))
    pairs = torch.stack([images(2, mean=0.0) for _ in range(LOWER + 1)])
    labelled, labels = images(UPPER, mean=2.0), torch.arange(COUNT) % 2
    settings = Options(
        damping=1000.0, iterations=PRODUCTS, solver="layerwise", clip_norm=CONFIG.clip_norm, moves_statistics=True
    )
    lower, upper = (SGD(parameters, lr=1e-3) for parameters in (levels.lower_parameters(), levels.upper_parameters()))
    *views, curvature = [Views(*pair) for pair in pairs]
    alternation(levels, lower, upper, views, curvature, [(each, labels) for each in labelled], settings)
    alternate(method, CONFIG, pairs, labelled, labels)
    ours, theirs = statistics(levels_of(method)), statistics(levels)
    assert list(ours) == list(theirs)
    counts = {name: int(value) for name, value in ours.items() if "tracked" in name}
    passes = 2 * LOWER + UPPER + 2 * UPPER * PRODUCTS
    assert passes == 128
    assert {counts[name] for name in counts if name.startswith("backbone")} == {passes}
    assert {counts[name] for name in counts if name.startswith("pretext")} == {passes - UPPER}
    for name, value in ours.items():
        assert relative(value.double(), theirs[name].double()) < 1e-11, name
