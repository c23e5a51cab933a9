"""AuxiLearn's labelling network finds the planted sub-clusters of MAXL's world; without its gradient it does not."""

import statistics
from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.gates.uniform import UniformGate
from auxo.interfaces import TrainState
from auxo.methods.auxilearn import AuxiLearn
from auxo.pretexts.labelling import InventedTaskConfig
from auxo.runs.networks import Networks
from auxo.tasks import Classification

from . import maxl_world
from .maxl_world import CLASSES, CONFIG, INPUTS, RUNTIME, SUB_CLASSES, World, quality

SEEDS = range(20, 24)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # half a minute each alone, but never a matter of load
INVENTED = InventedTaskConfig(
    sub_classes=(SUB_CLASSES,),
    weight=1.0,
    gamma=0.0,
    every=1,
    optimizer=CONFIG.generator_optimizer,
    scale=0.1,
    entropy_weight=0.1,
    hidden=0,
)


def invent(config, seed, *, steps=300):
    """The most likely sub-class of every training item after so many steps, and the world."""
    world, noise = World(seed), torch.Generator().manual_seed(seed + 500)
    task = Classification(tuple(map(str, range(CLASSES))), INPUTS, 1, 1, class_counts=(80,) * CLASSES)
    options = AuxiLearn.Config(invented=config, gate=UniformGate.Config(), optimizer=CONFIG.optimizer, monitor_every=0)
    networks = Networks(BackboneConfig(name=f"{maxl_world.__file__}:Perceptron"), task, seed=seed)
    method = options.build(networks).train()
    state = TrainState(method.optimizers(), seed=seed, kind="step, taught")
    for _ in range(steps):
        method.update(state, {"train": world.batch(0, noise), "outer": world.batch(0, noise)}, RUNTIME)
        state.step += 1
    batch = world.batch(0)
    return method.invented.generator.label(batch.images, batch.labels).argmax(1), world


def measure(config):
    """The mean quality of the labels and the mean number of labels in use, over the seeds."""
    return [statistics.mean(column) for column in zip(*(quality(*invent(config, seed)) for seed in SEEDS), strict=True)]


def test_labels__taught_by_a_series_of_steps__are_the_planted_sub_clusters():
    information, num_used = measure(INVENTED)
    assert information >= 0.5
    assert num_used >= 3


def test_labels__taught_by_steps_of_no_length__are_not():
    information, _ = measure(replace(INVENTED, scale=1e-9))
    assert information <= 0.23
