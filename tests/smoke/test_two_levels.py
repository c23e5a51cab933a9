"""A method in one outside file that uses all that a method may, through every command."""

import json
import shutil
import time
from pathlib import Path

import pytest
import torch

from auxo.cli import main
from auxo.files import read_tensor_file
from auxo.registry.outside import import_file
from auxo.runs.exhibits import read_exhibits
from auxo.runs.records import read_records

from .test_resume import kill_with_children, launch
from .test_two_processes import run_together

FILE = Path(__file__).parents[1] / "outside" / "two_levels.py"
QUICK = ("--device", "cpu", "--runtime.threads", "1", "--training.no-tensorboard")
OFTEN = ("--training.log-every", "1", "--training.checkpoint-every", "3")


def records(run, kind):
    return [row for row in read_records(run / "records.jsonl") if row["kind"] == kind]


def weights(run):
    return read_tensor_file(run / "model.safetensors").tree["weights"]


@pytest.fixture(scope="module")
def words(shapes_folder):
    return ("train", f"{FILE}:recipe", "--data.train", str(shapes_folder), *QUICK, *OFTEN)


@pytest.fixture(scope="module")
def run(words, tmp_path_factory):
    """A finished run, selected on the method's own measure, and its cache."""
    root = tmp_path_factory.mktemp("levels")
    with pytest.raises(SystemExit) as stop:
        main([*words, "--cache", str(root / "cache"), "--out", str(root / "run")])
    assert stop.value.code == 0
    return root / "run"


def test_train__two_levels__take_turns_in_whole_passes_and_select_on_their_own_measure(run):
    kinds = ["class_loss" in row["losses"] for row in records(run, "losses")]
    per_pass = len(kinds) // 4
    assert kinds == [True, False] * 2 if per_pass == 1 else kinds == ([True] * per_pass + [False] * per_pass) * 2
    (end,) = records(run, "end")
    evaluations = records(run, "evaluation")
    best = min(evaluations, key=lambda row: row["measures"]["disagreement"]["value"])
    assert (end["selection"]["measure"], end["selection"]["epoch"]) == ("disagreement", best["epoch"])
    assert all("disagreement" in row["measures"] for row in records(run, "result"))


def test_train__two_networks__are_both_in_the_model_and_start_from_streams_of_their_own(run):
    state = weights(run)
    own, other = state["backbone.convolution.weight"], state["generator.convolution.weight"]
    assert own.shape == other.shape
    assert not torch.equal(own, other)


def test_train__clusters__are_kept_once_beside_the_checkpoints_and_features_in_the_cache(run):
    tree = read_tensor_file(run / "checkpoints" / "train-prepared.safetensors").tree
    assert torch.equal(tree["tensors"]["centres"], weights(run)["centres"])
    assert tree["targets"]["train"]["cluster"].unique().tolist() == [0, 1, 2]
    assert len(list((run.parent / "cache").iterdir())) == 1
    others = [path for path in (run / "checkpoints").iterdir() if "prepared" not in path.name]
    assert not any("centres" in name for path in others for name in read_tensor_file(path).header)


def test_train__with_what_another_run_left_in_the_cache__has_the_same_numbers_and_costs_the_same(words, run, tmp_path):
    features = next((run.parent / "cache").iterdir())
    before = features.stat().st_mtime_ns
    with pytest.raises(SystemExit):
        main([*words, "--cache", str(run.parent / "cache"), "--out", str(tmp_path / "warm")])
    assert features.stat().st_mtime_ns == before
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(tmp_path / "warm").items())
    (one,), (two,) = records(run, "end"), records(tmp_path / "warm", "end")
    assert one["flops"] == two["flops"]


@pytest.mark.slow
def test_train__two_processes__have_the_numbers_of_one(words, run, tmp_path):
    run_together(*words, "--out", tmp_path / "two")
    places = [path / "checkpoints" / "train-prepared.safetensors" for path in (run, tmp_path / "two")]
    one, two = (read_tensor_file(place).tree for place in places)
    assert torch.equal(one["targets"]["train"]["cluster"], two["targets"]["train"]["cluster"])
    torch.testing.assert_close(one["tensors"]["centres"], two["tensors"]["centres"])
    for ours, theirs in zip(records(run, "result"), records(tmp_path / "two", "result"), strict=True):
        for name in ("nll", "disagreement"):
            assert ours["measures"][name]["value"] == pytest.approx(theirs["measures"][name]["value"], rel=1e-3)
    (ours,), (theirs,) = records(run, "end"), records(tmp_path / "two", "end")
    assert ours["images"] == theirs["images"]
    shown = [read_exhibits(path, ["train"]) for path in (run, tmp_path / "two")]
    assert [each.exhibit.title for each in shown[0]] == [each.exhibit.title for each in shown[1]]


@pytest.mark.slow
def test_train__killed_and_resumed__ends_with_the_same_bits_and_does_not_cluster_again(auxo, words, run, tmp_path):
    out, calls = tmp_path / "killed", import_file(FILE).CALLS
    process = launch([*words[1:], "--epochs", "12", "--out", str(out)], 1)
    while not list((out / "checkpoints").glob("train-0*.safetensors")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    kill_with_children(process)
    assert not (out / "model.safetensors").exists()
    prepared = (out / "checkpoints" / "train-prepared.safetensors").read_bytes()
    calls.clear()
    assert auxo("train", "--resume", out, "--code", FILE).code == 0
    assert calls == []
    assert (out / "checkpoints" / "train-prepared.safetensors").read_bytes() == prepared
    whole = tmp_path / "whole"
    assert auxo(*words, "--epochs", "12", "--out", whole).code == 0
    assert calls == ["begin"]
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(out).items())


def test_train__damaged_clusters__are_refused(auxo, run, tmp_path):
    out = Path(shutil.copytree(run, tmp_path / "copy"))
    (out / "model.safetensors").unlink()
    for path in [*(out / "checkpoints").glob("train-0*"), out / "checkpoints" / "train-final.safetensors"]:
        path.unlink()
    place = out / "checkpoints" / "train-prepared.safetensors"
    place.write_bytes(place.read_bytes()[:-1] + b"x")
    answer = auxo("train", "--resume", out, "--code", FILE)
    assert answer.code == 2
    assert "unchanged numbers in" in answer.err


def test_evaluate__finished_run__measures_again_and_begins_nothing(auxo, run):
    calls = import_file(FILE).CALLS
    calls.clear()
    answer = auxo("evaluate", run, "--code", FILE, "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "disagreement" in answer.out
    assert calls == []


@pytest.mark.slow
def test_compare__beside_another_method__takes_the_start_off_the_budget(auxo, shapes_folder, tmp_path):
    out = tmp_path / "comparison"
    common = ("--data.train", shapes_folder, *QUICK, "--backbone.name", "resnet8")
    methods = ("--methods", f"{FILE}:recipe", "supervised", "--seeds", "1", "--epochs", "2")
    answer = auxo("compare", *methods, *common, "--out", out)
    assert answer.code == 0, answer.err
    assert "TwoLevels" in answer.out or "two_levels" in answer.out
    one, two = (records(path.parent, "end")[0] for path in sorted(out.rglob("records.jsonl")))
    contents = json.loads((out / "comparison.json").read_text())
    assert max(one["flops"], two["flops"]) == pytest.approx(contents["flops"])
    start = read_tensor_file(next(out.rglob("train-prepared.safetensors"))).header["flops"]
    assert start > 0
    assert abs(one["flops"] - two["flops"]) < 0.5 * contents["flops"]


def test_report__of_the_run__shows_its_exhibits(auxo, run, tmp_path):
    page = tmp_path / "report.html"
    answer = auxo("report", run, "--code", FILE, "--device", "cpu", "--out", page)
    assert answer.code == 0, answer.err
    text = page.read_text(encoding="utf-8")
    for title in ("What the methods show", "Images and their clusters", "Images of each cluster", "Spread of features"):
        assert title in text
    assert "Clusters are of the untrained network." in text


def test_explain__of_the_run__names_its_exhibits(auxo, run):
    answer = auxo("explain", run, "--code", FILE, "--device", "cpu", "--num-points", "20", "--per-class", "1")
    assert answer.code == 0, answer.err
    assert f"Images of each cluster: {run / 'exhibits' / 'train' / '02-images-of-each-cluster.csv'}" in answer.out


def test_export__of_the_run__has_what_it_predicts_with_and_begins_nothing(auxo, run, shapes_folder, tmp_path):
    calls = import_file(FILE).CALLS
    calls.clear()
    out = tmp_path / "export"
    answer = auxo("export", run, "--code", FILE, "--format", "safetensors", "--out", out)
    assert answer.code == 0, answer.err
    names = read_tensor_file(out / "model.safetensors").tree["weights"]
    assert {name.partition(".")[0] for name in names} == {"backbone", "semantic"}
    answer = auxo("predict", out, shapes_folder, "--code", FILE, "--device", "cpu", "--out", tmp_path / "answers.csv")
    assert answer.code == 0, answer.err
    assert calls == []
    assert json.loads((out / "config.json").read_text())["run"]["training"]["cache"] is None
