"""A small network with batch norm, a batch of shapes, and a way to take steps, in float64."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.interfaces import TrainState
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch


@pytest.fixture
def runtime():
    config = RuntimeConfig(device="cpu", channels_last=False)
    return Runtime(config=config, device=torch.device("cpu"))


@pytest.fixture
def task():
    return Classification(class_names=("arrow", "l", "t", "wedge"), channels=3, height=28, width=28)


@pytest.fixture
def batches():
    source = oriented_shapes(24, size=28, seed=3)
    images = source.images.double() / 127.5 - 1
    labels = source.columns["label"].values.clamp(max=3)
    whole = torch.arange(24)
    return {
        "train": Batch(images[:16], {"label": labels[:16]}, whole[:16]),
        "meta": Batch(images[16:], {"label": labels[16:]}, whole[16:]),
    }


@pytest.fixture
def build(task):
    def build(config, backbone="resnet8", seed=0):
        network = BackboneConfig(name=backbone).build(task, seed=seed)
        method = config.build(Networks(network, task, seed=seed)).double()
        return method.train(), TrainState(method.optimizers(), seed=seed)

    return build


@pytest.fixture
def take_steps(batches, runtime):
    def take_steps(method, state, count):
        for _ in range(count):
            metrics = method.update(state, batches, runtime)
            state.step += 1
        return {name: value.item() for name, value in metrics.items()}

    return take_steps


@pytest.fixture
def snapshot():
    def snapshot(method):
        return {name: tensor.detach().clone() for name, tensor in method.state_dict().items()}

    return snapshot
