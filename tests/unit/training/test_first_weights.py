"""A run that begins from a file of weights needs the file no more once it has begun."""

import pytest
import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.data import Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError
from auxo.files.tensor_file import read_tensor_file
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification

from .run_here import run_here


def make_config(weights, lr=0.05):
    optimizer = OptimizerConfig(lr=lr)
    return ExperimentConfig(
        stages=(StageConfig(method=Supervised.Config(optimizer=optimizer), epochs=2, batch_size=16),),
        backbone=BackboneConfig(name="lenet5", weights=None if weights is None else str(weights)),
        training=TrainingConfig(tensorboard=False, keep_checkpoints=3),
        runtime=RuntimeConfig(device="cpu", precision="float32"),
    )


def train(config, folder):
    source = oriented_shapes(64, size=28, seed=0)
    parts = [source.subset(torch.arange(*part), f"{part}") for part in ((0, 32), (32, 48), (48, 64))]
    splits = Splits(train=TrainSplit(parts[0]), val=ValSplit(parts[1]), test=TestSplit(parts[2]))
    run_here(config, folder, splits)
    return read_tensor_file(folder / "model.safetensors").tree["weights"]


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_train_run__weights_of_another_run__are_where_it_begins_and_not_needed_later(tmp_path):
    train(make_config(None), tmp_path / "first")
    file = tmp_path / "first" / "model.safetensors"
    config = make_config(file)
    weights = train(config, tmp_path / "second")
    assert not equal(weights, train(make_config(None), tmp_path / "third"))
    file.unlink()
    with open_runtime(config.runtime) as runtime:
        loaded = load_model(config, tmp_path / "second", runtime=runtime)
    assert equal(dict(loaded.method.state_dict()), weights)
    for name in ("model.safetensors", "checkpoints/train-final.safetensors", "checkpoints/train-00000004.safetensors"):
        (tmp_path / "second" / name).unlink()
    assert equal(train(config, tmp_path / "second"), weights)


def test_train_run__weights_gone_before_it_begins__writes_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.safetensors"):
        train(make_config(tmp_path / "gone.safetensors"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_run__still_network__ends_with_the_weights_of_the_file(tmp_path):
    config = make_config(tmp_path / "x.safetensors", lr=1e-30)
    channels = oriented_shapes(4, size=28, seed=0).images.shape[1]
    backbone = BackboneConfig(name="lenet5").build(
        Classification(("a",), channels=channels, height=28, width=28), seed=99
    )
    save_file(dict(backbone.state_dict()), tmp_path / "x.safetensors")
    found = train(config, tmp_path / "run")
    for name, tensor in backbone.state_dict().items():
        torch.testing.assert_close(found[f"backbone.{name}"], tensor)
