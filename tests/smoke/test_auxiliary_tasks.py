"""Auxiliary columns, also of every pixel, through training, evaluation, export and resumption; what is refused."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from auxo.cli import main
from auxo.files import read_tensor_file

OUTSIDE = Path(__file__).parents[1] / "outside"
PIXELS, NET = OUTSIDE / "pixels.py", OUTSIDE / "net.py"
CODE = ("--code", PIXELS, "--code", NET)
QUICK = ("--training.no-tensorboard", "--runtime.threads", "1", "--device", "cpu")
PLACES = (
    *("--task.name", f"{PIXELS}:PixelClasses", "--backbone.name", f"{NET}:TinyNet", "--data.columns", "side"),
    *("--data.train", f"{PIXELS}:halved", "--data.augment", "crop_flip", "--epochs", "2", "--batch-size", "16"),
)


def read_records(run, kind):
    rows = map(json.loads, (run / "records.jsonl").read_text().splitlines())
    return [row for row in rows if row["kind"] == kind]


def read_metrics(run):
    """Every metric's last value."""
    return {name: value for row in read_records(run, "losses") for name, value in row["losses"].items()}


def write_columns(folder, values):
    """Give the images of a folder a column ``side``, in turn of some values."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*.png"))
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "side"))
        writer.writerows((path, values[number % len(values)]) for number, path in enumerate(paths))
    return folder


@pytest.fixture(scope="module")
def sided(shapes_folder, tmp_path_factory):
    """Images with a column of three values."""
    folder = tmp_path_factory.mktemp("sided") / "images"
    return write_columns(Path(shutil.copytree(shapes_folder, folder)), ("left", "middle", "right"))


def words_for(folder, out, *more):
    options = ("--data.train", folder, "--data.columns", "side", "--method.given.columns", "side")
    tasks = ("--method.given.pretexts", "flip", "--epochs", "2", "--batch-size", "32")
    return ["train", "auxilearn", *options, *tasks, *QUICK, "--out", out, *more]


def train(words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    assert stop.value.code == 0


@pytest.fixture(scope="module")
def run(sided, tmp_path_factory):
    """A finished run with a column, a pretext and an invented task."""
    out = tmp_path_factory.mktemp("runs") / "run"
    tasks = ("--method.invented.sub-classes", "2", "--method.invented.every", "2")
    train(words_for(sided, out, *tasks, "--method.monitor-every", "3", "--training.log-every", "1"))
    return out


def test_train__column_pretext_and_invented_task__are_recorded_and_shown(run, auxo, tmp_path):
    metrics = read_metrics(run)
    tasks = ("side", "flip", "invented")
    assert {f"{name}_{what}" for name in tasks for what in ("loss", "cosine", "gradient")} <= set(metrics)
    assert {f"gate_{name}" for name in tasks} | {"outer_loss", "label_information"} <= set(metrics)
    header = read_tensor_file(run / "model.safetensors").header
    assert header["columns"] == [["side", ["left", "middle", "right"], False, -1]]
    answer = auxo("report", run, "--out", tmp_path / "report.html")
    assert answer.code == 0, answer.err
    page = (tmp_path / "report.html").read_text()
    assert "Agreement of gradients" in page
    assert "Invented labels" in page
    assert "The last cosines with the primary gradient are side" in page


def test_explain__run__names_what_the_method_shows(run, auxo):
    answer = auxo("explain", run, "--device", "cpu", "--num-points", "20", "--per-class", "1")
    assert answer.code == 0, answer.err
    assert "Cosines with the primary task" in answer.out


def test_evaluate__run_with_a_learned_column__measures_the_same_again(run, auxo):
    answer = auxo("evaluate", run)
    assert answer.code == 0, answer.err
    before = {(row["split"], row["head"]): row["measures"] for row in read_records(run, "result")}
    after = map(json.loads, (run / "evaluation.jsonl").read_text().splitlines())
    assert {(row["split"], row["head"]): row["measures"] for row in after} == before


def test_export__run_with_a_learned_column__predicts_what_the_run_predicts(run, auxo, sided, tmp_path):
    answer = auxo("export", run, "--out", tmp_path / "export")
    assert answer.code == 0, answer.err
    said = []
    for model in (run, tmp_path / "export"):
        given = auxo("predict", model, next(sided.rglob("*.png")).parent, "--out", tmp_path / "answers.csv")
        assert given.code == 0, given.err
        said.append((tmp_path / "answers.csv").read_text())
    assert said[0] == said[1]


def test_resume__from_the_checkpoint_before_the_last__ends_with_the_same_bits(run, auxo, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run, again)
    saved = sorted((again / "checkpoints").glob("train-0*.safetensors"))
    for path in (saved[-1], again / "checkpoints" / "train-final.safetensors", again / "model.safetensors"):
        path.unlink()
    answer = auxo("train", "--resume", again)
    assert "curves" not in answer.out  # none were written
    assert answer.code == 0, answer.err
    one, other = (read_tensor_file(folder / "model.safetensors").tree["weights"] for folder in (run, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_train__bf16__is_finite_in_every_metric(auxo, sided, tmp_path):
    tasks = ("--method.invented.sub-classes", "2", "--method.invented.every", "2")
    answer = auxo(*words_for(sided, tmp_path / "run", *tasks, "--runtime.precision", "bf16", "--epochs", "1"))
    assert answer.code == 0, answer.err
    assert all(torch.isfinite(torch.tensor(value)) for value in read_metrics(tmp_path / "run").values())


@pytest.mark.parametrize("network", ["linear", "conv"])
def test_train__column_of_every_pixel__is_told_beside_a_task_of_every_pixel(auxo, tmp_path, network):
    run = tmp_path / "run"
    gate = ("--method.gate.network.name", network, "--method.covers", "all")
    columns = ("half",) if network == "conv" else ("half", "side")
    tasks = ("--method.given.columns", *columns, "--method.given.pretexts", "--method.monitor-every", "2")
    answer = auxo("train", "auxilearn", *PLACES, *tasks, *gate, *QUICK, "--training.log-every", "1", "--out", run)
    assert answer.code == 0, answer.err
    rows = [row["losses"] for row in read_records(run, "losses")]
    assert rows[-1]["half_loss"] < rows[0]["half_loss"]
    assert {f"{name}_cosine" for name in columns} <= set(rows[0])
    header = read_tensor_file(run / "model.safetensors").header
    assert header["columns"][0] == ["half", ["left", "right"], True, -1]
    answer = auxo("evaluate", run, *CODE)
    assert answer.code == 0, answer.err


def test_train__no_auxiliary_task__is_refused(assert_refused, place):
    words = ("train", "auxilearn", "--method.given.pretexts", "--data.train", place.shapes, "--out", place.out)
    assert_refused(*words, says="an auxiliary task for AuxiLearn, got none")


def test_train__column_of_one_value__is_refused(assert_refused, place):
    folder = write_columns(place.pictures, ("left",))
    assert_refused(*words_for(folder, place.out), says=r"two values of the auxiliary column 'side', got \['left'\]")


def test_train__column_that_the_data_lack__is_refused(assert_refused, place):
    words = words_for(place.shapes, place.out)
    words[words.index("--data.columns") : words.index("--data.columns") + 2] = []
    assert_refused(*words, says="images with values of side, which the run learns, got label")


def test_train__value_that_training_images_do_not_have__is_refused(assert_refused, place):
    folder = write_columns(place.pictures, ("left", "right"))
    other = write_columns(Path(shutil.copytree(place.shapes, place.root / "other")), ("left", "above"))
    words = (*words_for(folder, place.out), "--data.val", other, "--data.on-overlap", "drop")
    assert_refused(*words, says=r"values of 'side' that train has \(left, right\), got 'above'")


def test_train__invented_task_without_classes__is_refused(assert_refused, place):
    tasks = ("--method.given.columns", "half", "--method.given.pretexts", "--method.invented.sub-classes", "2")
    words = ("train", "auxilearn", *PLACES, *tasks, "--out", place.out)
    assert_refused(*words, says=r"a task of classes with invented\.sub-classes, got PixelClasses")
