"""A task that auxo does not know, with data, method and backbone from two files, through every command."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import auxo as package
from auxo.cli import main
from auxo.files import read_tensor_file

OUTSIDE = Path(__file__).parents[1] / "outside"
PIXELS, NET = OUTSIDE / "pixels.py", OUTSIDE / "net.py"
CODE = ("--code", str(PIXELS), "--code", str(NET))
QUICK = ("--training.no-tensorboard", "--runtime.threads", "1")
DATA = ("--data.train", f"{PIXELS}:train", "--data.ood", f"{PIXELS}:elsewhere")
THINGS = ("--task.name", f"{PIXELS}:PixelClasses", "--backbone.name", f"{NET}:TinyNet")


def rows_of(path, kind):
    return [row for line in path.read_text().splitlines() if (row := json.loads(line)).get("kind", kind) == kind]


def read_lines(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, selected on the task's primary measure."""
    out = tmp_path_factory.mktemp("pixels") / "run"
    with pytest.raises(SystemExit) as stop:
        main(["train", f"{PIXELS}:recipe", *QUICK, "--selection.keep", "best", "--out", str(out)])
    assert stop.value.code == 0
    return out


@pytest.fixture
def images(tmp_path, write_picture):
    """Three images in a folder."""
    for number in range(3):
        pixels = torch.randint(0, 255, (3, 16, 16), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        write_picture(tmp_path / "images" / f"{number}.png", pixels)
    return tmp_path / "images"


def test_package__every_file__knows_nothing_of_the_task():
    words = ("PixelClasses", "brighter", "PixelClassifier")
    texts = [path.read_text(encoding="utf-8") for path in Path(package.__file__).parent.rglob("*.py")]
    assert [word for word in words if any(word in text for text in texts)] == []


def test_train__selection_on_the_primary_measure__keeps_the_best_checkpoint(run):
    (end,) = rows_of(run / "records.jsonl", "end")
    evaluations = rows_of(run / "records.jsonl", "evaluation")
    best = max(evaluations, key=lambda row: row["measures"]["mIoU"]["value"])
    assert (end["selection"]["measure"], end["selection"]["epoch"]) == ("mIoU", best["epoch"])
    result = next(row for row in rows_of(run / "records.jsonl", "result") if row["split"] == "val")
    assert result["measures"]["mIoU"] == best["measures"]["mIoU"]


def test_train__records__have_intervals_parts_and_groups(run):
    for row in rows_of(run / "records.jsonl", "result"):
        measure = row["measures"]["mIoU"]
        assert measure["low"] <= measure["value"] <= measure["high"]
        assert list(row["parts"]["class"]) == ["ground", "square", "stripe"]
        assert sum(n for n, _ in row["parts"]["side"].values()) == row["n"]


def test_evaluate__with_both_files_allowed__measures_the_same_again(auxo, run):
    answer = auxo("evaluate", run, *CODE)
    assert answer.code == 0, answer.err
    assert "mIoU in percent" in answer.out
    before = {row["split"]: row["measures"] for row in rows_of(run / "records.jsonl", "result")}
    after = {row["split"]: row["measures"] for row in rows_of(run / "evaluation.jsonl", "result")}
    assert after == before


@pytest.mark.parametrize("allowed", [(), CODE[:2], CODE[2:]])
def test_evaluate__a_file_not_allowed__is_refused_in_one_line(auxo, run, allowed):
    answer = auxo("evaluate", run, *allowed)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    missing = [path for path in (PIXELS, NET) if str(path) not in allowed]
    assert "your leave to run what is outside auxo" in answer.err
    assert all(str(path) in answer.err for path in missing)


def test_train__method_that_serves_another_task__is_refused_in_one_line(auxo, tmp_path):
    answer = auxo("train", "supervised", *DATA, *THINGS, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "a task that Supervised serves, Classification, got PixelClasses" in answer.err
    assert not (tmp_path / "run").exists()


def test_resume__from_the_checkpoint_before_the_last__ends_with_the_same_bits(auxo, run, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run, again)
    saved = sorted((again / "checkpoints").glob("train-0*.safetensors"))
    for path in (saved[-1], again / "checkpoints" / "train-final.safetensors", again / "model.safetensors"):
        path.unlink()
    answer = auxo("train", "--resume", again, *CODE)
    assert answer.code == 0, answer.err
    one, other = (read_tensor_file(folder / "model.safetensors").tree["weights"] for folder in (run, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_predict__images__are_written_with_their_shares(auxo, run, images, tmp_path):
    answer = auxo("predict", run, images, *CODE, "--out", tmp_path / "answers.csv")
    assert answer.code == 0, answer.err
    lines = read_lines(tmp_path / "answers.csv")
    assert list(lines[0]) == ["path", "share(ground)", "share(square)", "share(stripe)", "image"]
    with Image.open(lines[2]["image"]) as drawn:
        assert drawn.size == (16, 16)
        values = np.asarray(drawn)
        shares = [float((values == 85 * label).mean()) for label in range(3)]
    told = [float(lines[2][f"share({name})"]) for name in ("ground", "square", "stripe")]
    assert told == pytest.approx(shares, abs=1e-3)


def test_export__network_of_two_files__predicts_what_the_run_predicts(auxo, run, images, tmp_path):
    answer = auxo("export", run, *CODE, "--out", tmp_path / "export")
    assert answer.code == 0, answer.err
    card = (tmp_path / "export" / "README.md").read_text()
    assert "mIoU" in card
    assert str(OUTSIDE) not in card
    told = []
    for model in (run, tmp_path / "export"):
        said = auxo("predict", model, images, *CODE, "--out", tmp_path / "same.csv")
        assert said.code == 0, said.err
        told.append((tmp_path / "same.csv").read_text())
        (tmp_path / "same-images").rename(tmp_path / f"{model.name}-images")
    assert told[0] == told[1]
    folders = [tmp_path / "run-images", tmp_path / "export-images"]
    drawn = [[(path.name, path.read_bytes()) for path in sorted(folder.iterdir())] for folder in folders]
    assert drawn[0] == drawn[1]


def test_report__run__shows_the_measure_and_leaves_out_what_asks_for_classes(auxo, run, tmp_path):
    answer = auxo("report", run, *CODE, "--out", tmp_path / "report.html")
    assert answer.code == 0, answer.err
    page = (tmp_path / "report.html").read_text()
    assert "mIoU" in page
    assert "By side" in page
    assert "Confusions" not in page


@pytest.mark.slow
def test_compare__worker_processes__make_the_runs(auxo, tmp_path):
    words = ("--methods", f"{PIXELS}:recipe", "--seeds", "2", "--epochs", "1", "--processes", "2")
    answer = auxo("compare", *DATA, *THINGS, *QUICK, *words, "--out", tmp_path / "grid")
    assert answer.code == 0, answer.err
    lines = read_lines(tmp_path / "grid" / "comparison.csv")
    assert {line["measure"] for line in lines} >= {"mIoU"}
    assert len(list((tmp_path / "grid").glob("*/model.safetensors"))) == 2


@pytest.mark.slow
def test_sweep__worker_processes__choose_on_the_primary_measure(auxo, tmp_path):
    words = ("--search", "method.optimizer.lr=choice:0.001,0.03", "--trials", "2", "--sampler", "grid")
    answer = auxo("sweep", f"{PIXELS}:recipe", *QUICK, "--epochs", "1", *words, "--out", tmp_path / "sweep")
    assert answer.code == 0, answer.err
    report = (tmp_path / "sweep" / "sweep.md").read_text()
    assert "mIoU" in report
    assert len(list((tmp_path / "sweep").glob("*/model.safetensors"))) == 2
