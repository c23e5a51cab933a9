"""Several encoders and one fusion of them, through the commands: from stages, from runs, and what a user gets wrong."""

import json
import shutil
import time

import pytest
import torch

from auxo.cli import main
from auxo.files import read_tensor_file
from auxo.runs.exhibits import read_exhibits
from auxo.runs.records import read_records

from .test_resume import finish, kill_with_children, launch

NAMES = ("rotation", "jigsaw", "lorot", "simclr")
QUICK = ("--device", "cpu", "--runtime.threads", "1", "--training.no-tensorboard", "--backbone.name", "resnet8")
STAGES = tuple(word for name in NAMES for word in (f"--{name}.epochs", "1", f"--{name}.batch-size", "32"))
GIVEN = "auxo.recipes.multi_pretext:given"
FUSE = ("--fuse.epochs", "6", "--fuse.batch-size", "16")


def data_of(folder):
    return ("--data.train", str(folder), "--data.num-labelled", "None")


def weights(run):
    return read_tensor_file(run / "model.safetensors").tree["weights"]


@pytest.fixture(scope="module")
def words(shapes_folder):
    return ("train", "multi_pretext", *data_of(shapes_folder), *QUICK, *STAGES, *FUSE)


@pytest.fixture(scope="module")
def run(words, tmp_path_factory):
    """A finished run of four encoders and attention."""
    out = tmp_path_factory.mktemp("multi") / "run"
    with pytest.raises(SystemExit) as stop:
        main([*words, "--training.log-every", "1", "--cache", str(out.parent / "cache"), "--out", str(out)])
    assert stop.value.code == 0
    return out


def test_train__four_stages_and_a_fusion__encoders_are_handed_over_and_stay(run):
    final = weights(run)
    starts = []
    for name in NAMES:
        trained = read_tensor_file(run / "checkpoints" / f"{name}-final.safetensors").tree["weights"]
        own = {key.removeprefix("backbone."): t for key, t in trained.items() if key.startswith("backbone.")}
        assert own
        assert all(torch.equal(t, final[f"backbone.encoders.{name}.network.{key}"]) for key, t in own.items())
        starts.append(own["convolution.weight"])
    assert not any(torch.equal(starts[0], other) for other in starts[1:])
    assert len(list((run.parent / "cache").iterdir())) == len(NAMES)


def test_train__records_and_exhibits__tell_the_attention_by_step_class_and_image(run):
    told = [r["losses"] for r in read_records(run / "records.jsonl") if r["kind"] == "losses" and r["stage"] == "fuse"]
    assert all(sum(row[f"attention_{name}"] for name in NAMES) == pytest.approx(1, abs=1e-5) for row in told)
    shown = {each.exhibit.title: each.exhibit for each in read_exhibits(run, ["fuse"])}
    by_class, by_image = shown["Mean attention by class"], shown["Attention by image"]
    assert by_class.columns == ("class", "images", *NAMES)
    assert not by_image.is_open
    rows = [[float(cell) for cell in row[2:]] for row in by_image.rows]
    assert all(sum(row) == pytest.approx(1, abs=1e-3) for row in rows)
    means = [float(cell) for cell in by_class.rows[-1][2:]]
    assert means == pytest.approx([sum(column) / len(rows) for column in zip(*rows, strict=True)], abs=1e-3)


def test_explain__finished_run__writes_the_weights_of_every_image_and_class(auxo, run, tmp_path):
    answer = auxo("explain", run, "--out", tmp_path / "explained", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "attention_rotation" in answer.out
    lines = (tmp_path / "explained" / "values.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["kind"] for row in rows} == {"class", "image"}
    for row in rows:
        assert sum(row[f"attention_{name}"] for name in NAMES) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_train__killed_in_an_encoder_and_in_the_fusion__same_bytes_as_uninterrupted(words, tmp_path):
    long = [*words[1:], "--training.log-every", "1", "--training.checkpoint-every", "1", "--fuse.epochs", "30"]
    finish(launch([*long, "--out", str(tmp_path / "whole")], 1))
    out, again = tmp_path / "killed", [*long, "--out", str(tmp_path / "killed")]
    for stage in ("jigsaw", "fuse"):
        process = launch(again, 1)
        records = out / "records.jsonl"
        while not records.exists() or f'"stage": "{stage}", "step": 1' not in records.read_text():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.005)
        kill_with_children(process)
        assert not (out / "model.safetensors").exists(), "the run ended before it was killed"
        again = ["--resume", str(out)]
    finish(launch(again, 1))
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def encoder(shapes_folder, tmp_path_factory):
    """A finished run of one pretext."""
    out = tmp_path_factory.mktemp("encoders") / "encoder"
    words = ("--pretext.name", "rotation", *QUICK, "--pretrain.epochs", "1", "--fine-tune.epochs", "1")
    with pytest.raises(SystemExit) as stop:
        main(["train", "pretrain", *words, *data_of(shapes_folder), "--out", str(out)])
    assert stop.value.code == 0
    return out


def test_given__encoders_of_a_run_and_a_file__are_kept_and_not_needed_again(auxo, encoder, shapes_folder, tmp_path):
    copy, out = tmp_path / "copy", tmp_path / "given"
    shutil.copytree(encoder, copy)
    words = ("--method.encoders", copy, f"file={copy / 'model.safetensors'}", "--epochs", "2", "--method.random", "1")
    answer = auxo("train", GIVEN, *words, "--data.train", shapes_folder, *QUICK, "--out", out)
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (out / "networks").iterdir()) == ["copy.safetensors", "file.safetensors"]
    shutil.rmtree(copy)
    answer = auxo("evaluate", out, "--device", "cpu")
    assert answer.code == 0, answer.err


# Options of a run of given encoders, and what the refusal says.
REFUSED = {
    "none": ("--method.encoders", r"encoders of one or more, got none"),
    "placeholder": ("", r"a trained network, got nothing such at "),
    "missing_file": (
        "--method.encoders nowhere.safetensors",
        r"a file of weights at .*nowhere.safetensors, got nothing",
    ),
    "missing_run": ("--method.encoders nowhere", r"a trained network, got nothing such at .*nowhere"),
    "twice": ("--method.encoders a b/a", r"encoders of different names, got two called a"),
    "unknown_fusion": ("--method.fusion.name atention", r"did you mean attention"),
    "heads": ("--method.fusion.heads 3 --method.encoders {encoder}", r"heads that divides the width 64, got 3"),
    "temperature": ("--method.fusion.temperature 0", r"fusion.temperature > 0, got 0"),
    "level": (
        "--method.levels stage9 --method.encoders {encoder}",
        r"levels of the encoder encoder among stage1.*got 'stage9'",
    ),
    "tune_once": ("--method.tune.is-on", r"features online with tune.is-on, got once"),
    "single": (
        "--method.fusion.name best_single --method.fusion.encoder x --method.encoders {encoder}",
        r"encoder one of encoder, got 'x'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options__that_cannot_be__are_refused_in_one_line(assert_refused, place, encoder, name):
    words, says = REFUSED[name]
    options = (*QUICK, "--epochs", "1", "--out", place.out)
    given = ("train", GIVEN, "--data.train", place.shapes, *options)
    assert_refused(*given, *words.replace("{encoder}", str(encoder)).split(), says=says)


def test_options__unknown_pretext_of_a_stage__is_refused_with_near_names(assert_refused, place):
    words = ("train", "multi_pretext", "--data.train", place.shapes, "--out", place.out)
    assert_refused(*words, "--rotation.method.pretext.name", "rotatoin", says="did you mean rotation")


def test_encoder__of_a_run_with_several_or_that_cannot_take_the_images__is_refused(assert_refused, place, run, encoder):
    given = ("train", GIVEN, "--data.train", place.shapes, *QUICK, "--out", place.out, "--method.encoders")
    assert_refused(*given, run, says=r"one network in .*model.safetensors, got several")
    lenet = place.root / "lenet"
    shutil.copytree(encoder, lenet)
    config = (lenet / "config.json").read_text().replace("resnet8", "lenet5")
    (lenet / "config.json").write_text(config)
    assert_refused(*given, lenet, says=r"lenet5.*lenet/model.safetensors|lenet/model.safetensors.*lenet5")
    large = ("--data.image-size", "40")
    assert_refused(*given, lenet, *large, says=r"28 or 32 pixels .* the encoder lenet of .*got 40x40")
