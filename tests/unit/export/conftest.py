"""Trained models without training: random weights, and running statistics that are not those of a new network."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.methods.fixmatch import FixMatch
from auxo.methods.gssl import GSSL
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runs.model import TrainedModel
from auxo.tasks import Classification

METHODS = {"supervised": Supervised, "ossl": OSSL, "gssl": GSSL, "fixmatch": FixMatch}


@pytest.fixture(scope="session")
def make_model():
    """Build a model of three classes by the names of method and backbone."""

    def make(method, backbone, *, size=32):
        task = Classification(("one", "two", "three"), 3, size, size, class_counts=(5, 6, 7))
        built = METHODS[method].Config().build(Networks(BackboneConfig(name=backbone), task, seed=0))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, tensor in built.state_dict().items():  # averaged weights then differ from the trained ones
                if tensor.is_floating_point():
                    tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
                    assert name.endswith("running_var") is False or (tensor > 0).all()
        mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
        pipeline = InputPipeline(mean, std, image_shape=(3, size, size))
        return TrainedModel(
            built.eval(), pipeline.eval(), task, {"train": "abc"}, Path("model.safetensors"), "classification"
        )

    return make


@pytest.fixture(scope="session")
def run_apart():
    """Run Python in a process of its own, in a folder; it must neither fail nor import auxo."""

    def run(program, folder):
        ending = "\nimport sys\nassert not [name for name in sys.modules if name.partition('.')[0] == 'auxo']\n"
        words = [sys.executable, "-W", "ignore", "-I", "-c", program + ending]  # torch warns where numpy is old
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
