"""Runs on unlabelled images: they go on to the bit, are bound to those images, and predict with averages."""

import shutil
import signal
from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig, Splits, TestSplit, TrainSplit, UnlabelledSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import DataError, InterruptedRunError
from auxo.files.tensor_file import read_tensor_file
from auxo.methods.fixmatch import FixMatch
from auxo.pretexts import GatedPretextsConfig
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.training import SilentObserver

from .run_here import run_here

METHOD = FixMatch.Config(threshold=0.3, ratio=2, pretexts=GatedPretextsConfig(tasks=("flip", "lorot")))
CONFIG = ExperimentConfig(
    stages=(StageConfig(method=METHOD, epochs=3, batch_size=8),),
    backbone=BackboneConfig(name="resnet8"),
    data=DataConfig(augment="crop"),
    training=TrainingConfig(tensorboard=False, log_every=1, checkpoint_every=2),
    runtime=RuntimeConfig(device="cpu", precision="float32", threads=1),
)


class Stopper(SilentObserver):
    """Asks the run to stop after a step."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at

    def step_done(self, step, *, images_per_second, losses):
        """Send the signal that a user's Ctrl-C is."""
        if step == self.stop_at:
            signal.raise_signal(signal.SIGTERM)


def make_splits(num_unlabelled=30):
    source = oriented_shapes(80, size=16, seed=0)
    train, val, test = (
        source.subset(torch.arange(*part), name) for part, name in (((0, 16), "a"), ((16, 32), "b"), ((32, 48), "c"))
    )
    rest = source.subset(torch.arange(48, 48 + num_unlabelled), "d").without_targets(["label"], "d")
    return Splits(TrainSplit(train), ValSplit(val), TestSplit(test), unlabelled=UnlabelledSplit(rest))


def train(folder, *, stop_at=None, splits=None):
    return run_here(CONFIG, folder, splits or make_splits(), Stopper(stop_at))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(folder)
    return folder


def test_train_run__stopped_and_resumed__ends_with_the_same_bytes(whole, tmp_path):
    folder = tmp_path / "stopped"
    with pytest.raises(InterruptedRunError):
        train(folder, stop_at=3)
    train(folder)
    assert (folder / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_train_run__killed_before_an_old_checkpoint_was_deleted__goes_on_without_it(whole, tmp_path):
    folder = tmp_path / "killed"
    shutil.copytree(whole, folder)
    kept = sorted((folder / "checkpoints").iterdir())
    shutil.copy(kept[0], folder / "checkpoints" / "train-00000001.safetensors")
    train(folder)
    assert sorted((folder / "checkpoints").iterdir()) == kept


def test_train_run__resumed_with_other_unlabelled_pictures__is_refused(tmp_path):
    folder = tmp_path / "stopped"
    with pytest.raises(InterruptedRunError):
        train(folder, stop_at=3)
    with pytest.raises(DataError, match=r"the unlabelled images and targets that .* was made with, got others"):
        train(folder, splits=make_splits(num_unlabelled=29))


def test_load_model__of_the_run__predicts_with_the_averaged_weights(whole):
    weights = read_tensor_file(whole / "model.safetensors").tree["weights"]
    with open_runtime(CONFIG.runtime) as runtime, torch.inference_mode():
        model = load_model(CONFIG, whole, runtime=runtime)
        images = torch.randn(4, 3, 16, 16)
        ours = model.method.predict(images)
        features = model.method.averaged.backbone(images).pooled
        averaged = torch.nn.functional.linear(
            features, weights["averaged.semantic.weight"], weights["averaged.semantic.bias"]
        )
    torch.testing.assert_close(ours, averaged)
    assert not torch.equal(weights["averaged.semantic.weight"], weights["semantic.weight"])
    model.check_splits(make_splits())
    with pytest.raises(DataError, match="the unlabelled images"):
        model.check_splits(replace(make_splits(), unlabelled=None))
