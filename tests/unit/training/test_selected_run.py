"""The best weights on the validation set are those that a run ends with, and what such a run leaves."""

from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load_file

from auxo.data import Splits, TestSplit, TrainSplit, ValSplit
from auxo.errors import ConfigError
from auxo.evaluation import Reader
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.runs.checkpoint import Checkpoints
from auxo.runs.document import config_digest, to_json
from auxo.runs.experiment import StageConfig
from auxo.runs.model import load_model
from auxo.runs.selection import SelectionRule
from auxo.runtime import open_runtime
from auxo.types import Column

from .run_here import make_config, make_splits, rows, train, weights_of


class Forgetful(Supervised):
    """Learns for six epochs, then forgets a little more at every step."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

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


def test_selection__later_epochs_are_worse__ends_with_the_best_weights(selected):
    config, folder, result = selected
    evaluations = rows(folder, "evaluation")
    assert {row["split"] for row in evaluations} == {"val"}
    best = best_of(evaluations)
    assert 1 < best["epoch"] < STAGE.epochs, "the best epoch should not be a trivial one"

    (end,) = rows(folder, "end")
    assert end["selection"]["epoch"] == best["epoch"]
    final = next(row for row in rows(folder, "result") if row["split"] == "val")
    assert {name: final[name] for name in ("measures", "parts")} == {name: best[name] for name in ("measures", "parts")}
    assert f"best accuracy of semantic on val at epoch {best['epoch']}" in result.table.caption

    kept = weights_of(folder / "checkpoints" / "train-best.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in weights_of(folder / "model.safetensors").items())
    last = Checkpoints(folder / "checkpoints", "train", config_digest(config)).saved()[-1]
    assert any(not torch.equal(kept[name], tensor) for name, tensor in weights_of(last).items())


def test_selection__last_of_the_same_run__ends_with_the_last_weights(selected, tmp_path):
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
    # The headers differ: they say which test images there were.
    one, two = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "other"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
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


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"measure": "worst_group/half"}, "a measure of accuracy, nll, ece, got 'worst_group/half'"),
        ({"tie_break": "acuracy"}, "a measure of accuracy, nll, ece, got 'acuracy'"),
        ({"head": "semantc"}, "a head of first, semantic to select by, got 'semantc'"),
    ],
)
def test_selection__what_is_not_there__is_refused_before_anything_is_written(rule, message, tmp_path):
    stage = replace(STAGE, selection=SelectionRule(keep="best", **rule))
    with pytest.raises(ConfigError, match=message) as caught:
        train(make_config(stage), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_selection__of_a_later_stage__is_refused_before_the_first_is_trained(tmp_path):
    stages = (
        replace(STAGE, name="a", epochs=1),
        replace(STAGE, name="b", selection=SelectionRule(keep="best", head="x")),
    )
    with pytest.raises(ConfigError, match="a head of first, semantic to select by, got 'x'"):
        train(make_config(*stages), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("unread", [{"measure": "nll"}, {"head": "semantic"}, {"tie_break": "accuracy"}])
def test_selection__of_the_last_weights_by_a_measure__is_refused(unread):
    with pytest.raises(
        ConfigError, match=r"selection.keep best with another measure, head or tie-break, got keep last"
    ):
        replace(STAGE, selection=SelectionRule(**unread))


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
