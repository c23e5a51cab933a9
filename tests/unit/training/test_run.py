"""Stages follow each other, and the best weights on the validation set are those that a run ends with."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.config import config_digest, to_json
from auxo.data import InMemorySource, Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import CheckpointError, ConfigError, ShapeError
from auxo.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.rotation import JointRotation
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.training import load_model, read_records, train_run
from auxo.training.checkpoint import Checkpoints
from auxo.training.tensor_file import read_tensor_file


class Watcher:
    """Remembers what it is told."""

    def __init__(self):
        self.stages = []
        self.steps = []
        self.epochs = []

    def stage_started(self, stage, *, step, num_steps):
        self.stages.append((stage, step, num_steps))

    def step_done(self, step, *, images_per_second, losses):
        self.steps.append(step)

    def evaluated(self, epoch, rows):
        self.epochs.append(epoch)


def make_splits(test_labels=None, side=28):
    """Return 64 training, 32 validation and 32 test images."""
    source = oriented_shapes(128, size=side, seed=0)
    train, val, test = (
        source.subset(torch.arange(*part), name)
        for part, name in (((0, 64), "a"), ((64, 96), "b"), ((96, 128), "c"))
    )
    if test_labels is not None:
        test = InMemorySource(test.name, test.images, test_labels, test.class_names)
    return Splits(train=TrainSplit(train), val=ValSplit(val), test=TestSplit(test))


def make_config(*stages, **training):
    return ExperimentConfig(
        stages=stages,
        training=TrainingConfig(tensorboard=False, **training),
        runtime=RuntimeConfig(device="cpu", precision="float32"),
    )


def train(config, folder, splits=None):
    """Run, and return the result and what the observer saw."""
    watcher = Watcher()
    with open_runtime(config.runtime) as runtime:
        result = train_run(
            config,
            document=to_json(config),
            digest=config_digest(config),
            folder=folder,
            runtime=runtime,
            observer=watcher,
            splits=splits or make_splits(),
        )
    return result, watcher


def rows(folder, kind):
    return [row for row in read_records(folder / "records.jsonl") if row["kind"] == kind]


def weights_of(path):
    return read_tensor_file(path).tree["weights"]


TWO_STAGES = (
    StageConfig(method=JointRotation.Config(), name="warm-up", epochs=2, batch_size=16),
    StageConfig(method=OSSL.Config(), name="main", epochs=1, batch_size=16, start_from="warm-up"),
)


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "two"
    config = make_config(*TWO_STAGES, log_every=1)
    _, watcher = train(config, folder)
    return config, folder, watcher


def test_train_run__two_stages__are_trained_in_order_and_recorded_by_name(two_stages):
    _, folder, watcher = two_stages
    assert watcher.stages == [("warm-up", 0, 8), ("main", 0, 4)]
    assert watcher.steps == [*range(1, 9), *range(1, 5)]
    assert watcher.epochs == [1, 2, 1]
    losses = rows(folder, "losses")
    assert [row["stage"] for row in losses] == ["warm-up"] * 8 + ["main"] * 4
    assert [row["global_step"] for row in losses] == list(range(1, 13))
    assert {row["stage"] for row in rows(folder, "result")} == {"main"}
    (end,) = rows(folder, "end")
    assert end["images"] == 64 * 3


def test_train_run__second_stage__starts_from_the_weights_that_fit(two_stages, tmp_path):
    config, folder, _ = two_stages
    # With a learning rate too small to change any weight, the stage ends with what it started from.
    still = replace(TWO_STAGES[1], method=OSSL.Config(optimizer=OptimizerConfig(lr=1e-30, weight_decay=0.0)))
    for start, fits in (("warm-up", True), ("scratch", False)):
        frozen = replace(config, stages=(TWO_STAGES[0], replace(still, start_from=start)))
        train(frozen, tmp_path / start)
        first = weights_of(tmp_path / start / "checkpoints" / "warm-up-final.safetensors")
        last = weights_of(tmp_path / start / "model.safetensors")
        assert set(last) - set(first) == {"auxiliary.weight", "auxiliary.bias"}
        assert all(torch.equal(last[name], tensor) == fits for name, tensor in first.items())
    first_of_two = weights_of(folder / "checkpoints" / "warm-up-final.safetensors")
    again = weights_of(tmp_path / "warm-up" / "checkpoints" / "warm-up-final.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in first_of_two.items())


def test_train_run__stopped_after_the_first_stage__goes_on_with_the_second_to_the_same_bytes(two_stages, tmp_path):
    config, folder, _ = two_stages
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model.safetensors").unlink()
    for path in (copy / "checkpoints").glob("main-*"):
        path.unlink()
    _, watcher = train(config, copy)
    assert watcher.stages == [("main", 0, 4)]
    assert (copy / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    ours, theirs = (rows(each, "losses") for each in (copy, folder))
    assert [row["losses"] for row in ours] == [row["losses"] for row in theirs]


def test_train_run__weights_of_no_earlier_stage_fit__is_told(tmp_path, monkeypatch):
    config = make_config(*TWO_STAGES)
    train(config, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    for path in (tmp_path / "run" / "checkpoints").glob("main-*"):
        path.unlink()
    other = replace(config, backbone=BackboneConfig(name="resnet8"))
    digest = config_digest(config)
    with open_runtime(other.runtime) as runtime, pytest.raises(CheckpointError, match=r"weights that fit stage main"):
        train_run(
            replace(other, stages=(TWO_STAGES[0], replace(TWO_STAGES[1], method=Renamed()))),
            document="",
            digest=digest,
            folder=tmp_path / "run",
            runtime=runtime,
            observer=Watcher(),
            splits=make_splits(),
        )


@pytest.mark.parametrize(
    ("stage", "splits", "error", "message"),
    [
        (
            StageConfig(
                method=OSSL.Config(scope="implicit", implicit=ImplicitConfig(response="meta")), name="last", epochs=1
            ),
            {},
            ConfigError,
            "a meta split for this method",
        ),
        (StageConfig(method=OSSL.Config(), name="last", epochs=1, batch_size=65, drop_last=True), {}, ConfigError, "65"),
    ],
)
def test_train_run__later_stage_that_cannot_be__is_refused_before_anything_is_written(
    tmp_path, stage, splits, error, message
):
    first = StageConfig(method=Supervised.Config(), name="first", epochs=1)
    with pytest.raises(error, match=message):
        train(make_config(first, stage), tmp_path / "run", make_splits(**splits))
    assert not (tmp_path / "run").exists()
