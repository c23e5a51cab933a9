"""Stages follow each other, each from the weights that it is to start from."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import Splits, TrainSplit, ValSplit
from auxo.errors import CheckpointError, ConfigError, SelectionError
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.interfaces import View
from auxo.methods.joint_training import JointTraining
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.rotation import Rotation
from auxo.registry.outside import import_file
from auxo.runs.experiment import StageConfig

from .run_here import make_config, make_splits, rows, train, weights_of

OUTSIDE = Path(__file__).parents[2] / "outside"


META = OSSL.Config(scope="implicit", implicit=ImplicitConfig(response="meta"))


TWO_STAGES = (
    StageConfig(method=JointTraining.Config(pretext=Rotation()), name="warm-up", epochs=2, batch_size=16),
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


def test_train_run__speed_in_the_records__is_of_all_steps_since_the_row_before(tmp_path):
    config = make_config(StageConfig(method=Supervised.Config(), epochs=2, batch_size=16), log_every=3)
    train(config, tmp_path / "run")
    losses = rows(tmp_path / "run", "losses")
    assert [row["step"] for row in losses] == [3, 4, 6, 8]
    steps = (3, 1, 2, 2)
    spent = [16 * count / row["images_per_second"] for count, row in zip(steps, losses, strict=True)]
    (end,) = rows(tmp_path / "run", "end")
    assert sum(spent) == pytest.approx(end["train_seconds"])


class Greedy(Supervised):
    """Asks for the test split."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

        def required_views(self):
            return {"train": View(), "test": View("test")}


def test_train_run__method_that_wants_the_test_split__is_refused(tmp_path):
    with pytest.raises(SelectionError, match="views of train, meta, unlabelled or images, got 'test'"):
        train(make_config(StageConfig(method=Greedy.Config())), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_run__temporaries_of_a_killed_process__are_gone_when_it_goes_on(two_stages, tmp_path):
    config, folder, _ = two_stages
    copy = shutil.copytree(folder, tmp_path / "copy")
    left = [
        copy / "checkpoints" / ".main-00000004.safetensors.0123abcd.part",
        copy / ".model.safetensors.4567cdef.part",
    ]
    for path in left:
        path.touch()
    train(config, copy)
    assert not any(path.exists() for path in left)


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


def test_train_run__earlier_stage_without_a_weight_that_fits__is_told(two_stages, tmp_path):
    config, folder, _ = two_stages
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in (copy / "checkpoints").glob("main-*"):
        path.unlink()
    final = copy / "checkpoints" / "warm-up-final.safetensors"
    write_tensor_file(final, {"weights": {"other": torch.ones(2)}}, read_tensor_file(final).header)
    with pytest.raises(CheckpointError, match=r"weights that fit stage main, got none in .*warm-up-final"):
        train(config, copy)


@pytest.mark.parametrize(
    ("stage", "side", "message"),
    [
        (StageConfig(method=META, name="last", epochs=1), 28, r"a meta split for this method, got none"),
        (StageConfig(method=OSSL.Config(), name="last", batch_size=65, drop_last=True), 28, r"at least 65 images"),
    ],
)
def test_train_run__later_stage_that_cannot_be__is_refused_before_anything_is_written(tmp_path, stage, side, message):
    first = StageConfig(method=Supervised.Config(), name="first", epochs=1)
    with pytest.raises(ConfigError, match=message):
        train(make_config(first, stage), tmp_path / "run", make_splits(side=side))
    assert not (tmp_path / "run").exists()


def test_train_run__task_that_a_later_stage_does_not_serve__is_refused_before_anything_is_written(tmp_path):
    pixels = import_file(OUTSIDE / "pixels.py")
    source = pixels.make_source("pixels", 48, seed=0)
    train_part, val_part = (
        source.subset(torch.arange(*part), name) for part, name in (((0, 32), "a"), ((32, 48), "b"))
    )
    splits = Splits(TrainSplit(train_part), ValSplit(val_part), test=None, task_kind=pixels.PixelClasses)
    first = StageConfig(method=pixels.PixelClassifier.Config(), name="first", epochs=1, batch_size=16)
    second = StageConfig(method=Supervised.Config(), name="second", epochs=1, batch_size=16)
    config = replace(make_config(first, second), backbone=BackboneConfig(name=f"{OUTSIDE / 'net.py'}:TinyNet"))
    says = "a task that Supervised serves, Classification, got PixelClasses: choose another method"
    with pytest.raises(ConfigError, match=says) as caught:
        train(config, tmp_path / "run", splits)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
