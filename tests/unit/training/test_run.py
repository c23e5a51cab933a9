"""Stages follow each other, and the best weights on the validation set are those that a run ends with."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import CheckpointError, ConfigError, SelectionError
from auxo.evaluation import Reader
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.interfaces import View
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.rotation import JointRotation
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.outside import import_file
from auxo.runs.checkpoint import Checkpoints
from auxo.runs.document import config_digest, to_json
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.model import load_model
from auxo.runs.records import read_records
from auxo.runs.selection import SelectionRule
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.training import SilentObserver
from auxo.types import Column

from .run_here import run_here

OUTSIDE = Path(__file__).parents[2] / "outside"


class Watcher(SilentObserver):
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
        source.subset(torch.arange(*part), name) for part, name in (((0, 64), "a"), ((64, 96), "b"), ((96, 128), "c"))
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
    return run_here(config, folder, splits or make_splits(), watcher), watcher


META = OSSL.Config(scope="implicit", implicit=ImplicitConfig(response="meta"))


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

        def build(self, backbone, task, *, seed):
            return Greedy(self, backbone, task, seed=seed)


def test_train_run__method_that_wants_the_test_split__is_refused(tmp_path):
    with pytest.raises(SelectionError, match="views of train, meta, unlabelled or pictures, got 'test'"):
        train(make_config(StageConfig(method=Greedy.Config())), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_run__temporaries_of_a_killed_process__are_gone_when_it_goes_on(two_stages, tmp_path):
    config, folder, _ = two_stages
    copy = shutil.copytree(folder, tmp_path / "copy")
    left = [copy / "checkpoints" / ".main-00000004.safetensors.0123abcd.part", copy / ".model.safetensors.0.part"]
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


class Forgetful(Supervised):
    """Learns for six epochs, then forgets a little more at every step."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

        def build(self, backbone, task, *, seed):
            return Forgetful(self, backbone, task, seed=seed)

    def update(self, state, batches, runtime):
        metrics = super().update(state, batches, runtime)
        if state.step >= 6 * 4:
            with torch.no_grad():
                self.semantic.weight.mul_(0.1)
        return metrics


STAGE = StageConfig(
    method=Forgetful.Config(optimizer=OptimizerConfig(lr=0.05, schedule="constant")),
    epochs=9,
    batch_size=16,
    selection=SelectionRule(keep="best"),
)


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "selected"
    config = make_config(STAGE)
    result, _ = train(config, folder)
    return config, folder, result


def best_of(evaluations):
    """Return the row that should be chosen: the highest accuracy, then the lowest likelihood, then the earliest."""
    return min(evaluations, key=lambda row: (-value(row, "accuracy"), value(row, "nll"), row["step"]))


def value(row, name):
    """Return a measure of a row."""
    return row["measures"][name]["value"]


def test_best_val__later_epochs_are_worse__ends_with_the_best_weights(selected):
    config, folder, result = selected
    evaluations = rows(folder, "evaluation")
    assert {row["split"] for row in evaluations} == {"val"}
    best = best_of(evaluations)
    assert 1 < best["epoch"] < STAGE.epochs, "the best epoch should not be a trivial one"

    (end,) = rows(folder, "end")
    assert end["selection"]["epoch"] == best["epoch"]
    final = next(row for row in rows(folder, "result") if row["split"] == "val")
    assert {name: final[name] for name in ("measures", "parts")} == {name: best[name] for name in ("measures", "parts")}
    assert f"best accuracy on val at epoch {best['epoch']}" in result.table.caption

    kept = weights_of(folder / "checkpoints" / "train-best.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in weights_of(folder / "model.safetensors").items())
    last = Checkpoints(folder / "checkpoints", "train", config_digest(config)).saved()[-1]
    assert any(not torch.equal(kept[name], tensor) for name, tensor in weights_of(last).items())


def test_last__same_run__ends_with_the_last_weights(selected, tmp_path):
    config, folder, _ = selected
    train(replace(config, stages=(replace(STAGE, selection=SelectionRule()),)), tmp_path / "last")
    last = sorted((folder / "checkpoints").glob("train-0*.safetensors"))[-1]
    model = weights_of(tmp_path / "last" / "model.safetensors")
    assert all(torch.equal(model[name], tensor) for name, tensor in weights_of(last).items())
    assert rows(tmp_path / "last", "end")[0]["selection"] is None


def test_selection__other_test_set__changes_nothing(selected, tmp_path):
    config, folder, result = selected
    labels = torch.arange(32).flip(0) % 4
    other, _ = train(config, tmp_path / "other", make_splits(test_labels=labels))
    assert (tmp_path / "other" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert rows(tmp_path / "other", "end")[0]["selection"] == rows(folder, "end")[0]["selection"]
    accuracies = [[row.main.value for row in each.rows if row.split == "test"] for each in (result, other)]
    assert accuracies[0] != accuracies[1]


def test_selection__evaluated_seldom__chooses_among_the_evaluated_epochs(selected, tmp_path):
    config, folder, _ = selected
    seldom = replace(config, training=replace(config.training, evaluate_every=4))
    train(seldom, tmp_path / "seldom")
    evaluations = rows(tmp_path / "seldom", "evaluation")
    assert [row["epoch"] for row in evaluations] == [4, 8, 9]
    every = {row["epoch"]: value(row, "nll") for row in rows(folder, "evaluation")}
    assert [value(row, "nll") for row in evaluations] == [every[4], every[8], every[9]]
    assert rows(tmp_path / "seldom", "end")[0]["selection"]["epoch"] == best_of(evaluations)["epoch"]


def grouped_splits():
    """Return the splits with a column of two halves, each with every class."""

    def with_halves(source):
        halves = Column(torch.arange(len(source)) // (len(source) // 2), ("first", "second"))
        return source.with_columns({**source.columns, "half": halves})

    splits = make_splits()
    return Splits(
        TrainSplit(with_halves(splits.train.source)),
        ValSplit(with_halves(splits.val.source)),
        TestSplit(with_halves(splits.test.source)),
    )


@pytest.mark.parametrize(
    ("rule", "head", "measure"),
    [
        (SelectionRule(keep="best", measure="nll", tie_break="accuracy"), "semantic", "nll"),
        (SelectionRule(keep="best", head="rotation"), "rotation", "accuracy"),
        (SelectionRule(keep="best", head="auxiliary", measure="nll"), "auxiliary", "nll"),
    ],
)
def test_selection__other_measure_or_head__keeps_the_weights_that_it_asks_for(rule, head, measure, tmp_path):
    stage = StageConfig(method=OSSL.Config(), epochs=3, batch_size=16, selection=rule)
    train(make_config(stage), tmp_path / "run")
    evaluations = [row for row in rows(tmp_path / "run", "evaluation") if row["head"] == head]
    sign = -1 if evaluations[0]["measures"][measure]["higher_is_better"] else 1
    best = min(evaluations, key=lambda row: (sign * value(row, measure), *tie(row, rule), row["step"]))
    (end,) = rows(tmp_path / "run", "end")
    chosen = end["selection"]
    assert (chosen["head"], chosen["measure"], chosen["epoch"]) == (head, measure, best["epoch"])
    final = next(row for row in rows(tmp_path / "run", "result") if (row["split"], row["head"]) == ("val", head))
    assert final["measures"] == best["measures"]


def tie(row, rule):
    """Return what orders a row among equals."""
    found = row["measures"].get(rule.tie_break)
    return () if found is None else ((-1 if found["higher_is_better"] else 1) * found["value"],)


def test_selection__unknown_measure__is_refused_in_one_line(tmp_path):
    stage = replace(STAGE, epochs=1, selection=SelectionRule(keep="best", measure="worst_group/half"))
    with pytest.raises(ConfigError, match="a measure of accuracy, nll, ece, got 'worst_group/half'") as caught:
        train(make_config(stage), tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_train_run__further_column__changes_no_weight_and_no_digest(selected, tmp_path):
    config, folder, result = selected
    grouped, _ = train(config, tmp_path / "grouped", grouped_splits())
    ours, theirs = (weights_of(each / "model.safetensors") for each in (folder, tmp_path / "grouped"))
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())
    assert grouped_splits().digests() == make_splits().digests()
    assert {name for row in grouped.rows for name in row.parts} == {"class", "half"}
    assert [row.main for row in grouped.rows] == [row.main for row in result.rows]


def test_load_model__finished_run__measures_as_the_run_did(selected):
    config, folder, result = selected
    with open_runtime(config.runtime) as runtime:
        model = load_model(config, folder, runtime=runtime)
        again = Reader.of(model, runtime=runtime, batch_size=500).evaluate(make_splits().test)
    assert again == [row for row in result.rows if row.split == "test"]
    assert not model.method.training


def test_load_model__written_before_models_knew_the_counts_of_classes__is_loaded_without_them(selected, tmp_path):
    config, folder, _ = selected
    saved = read_tensor_file(folder / "model.safetensors")
    task = {name: value for name, value in saved.header["task"].items() if name != "class_counts"}
    write_tensor_file(tmp_path / "model.safetensors", saved.tree, {**saved.header, "task": task})
    with open_runtime(config.runtime) as runtime:
        now, before = (load_model(config, each, runtime=runtime).task for each in (folder, tmp_path))
    assert now == make_splits().task()
    assert before == replace(now, class_counts=())


def test_train_run__files__are_the_documented_ones(selected):
    config, folder, _ = selected
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "checkpoints",
        "config.json",
        "model.safetensors",
        "records.jsonl",
        "report.md",
    }
    assert (folder / "config.json").read_text() == to_json(config)
    assert "| split |" in (folder / "report.md").read_text()
