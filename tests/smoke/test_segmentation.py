"""Segmentation of pairs in a folder through every command."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.cli import main
from auxo.data.textures import TEXTURES, draw_scenes
from auxo.files import read_tensor_file

QUICK = ("--training.no-tensorboard", "--runtime.threads", "1", "--device", "cpu")
COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200), (200, 30, 200))


def rows_of(path, kind):
    return [row for line in path.read_text().splitlines() if (row := json.loads(line)).get("kind", kind) == kind]


def read_lines(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def paint(numbers):
    """A mask in the colours of its classes, as a user may have it."""
    return np.array(COLOURS, dtype=np.uint8)[numbers.numpy()]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of images, 24 pixels wide and 20 high, with masks in colours and what these stand for."""
    root = tmp_path_factory.mktemp("pairs")
    scenes = draw_scenes(40, seed=0, name="scenes", side=24)
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for number, (image, mask) in enumerate(zip(scenes.images, scenes.masks, strict=True)):
        Image.fromarray(image[:, :20].permute(1, 2, 0).numpy()).save(root / "images" / f"{number:02d}.png")
        Image.fromarray(paint(mask[:20].long())).save(root / "masks" / f"{number:02d}.png")
    lines = [f"{name},#{bytes(colour).hex()}" for name, colour in zip(TEXTURES, COLOURS, strict=True)]
    (root / "classes.csv").write_text("\n".join(["name,colour", *lines]) + "\n")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, pairs):
    """A finished run of two epochs, chosen on mIoU."""
    out = tmp_path_factory.mktemp("segmentation") / "run"
    words = ("--data.train", str(pairs), "--epochs", "2", "--training.evaluate-every", "1", "--selection.keep", "best")
    with pytest.raises(SystemExit) as stop:
        main(["train", "segmenter", *words, *QUICK, "--out", str(out)])
    assert stop.value.code == 0
    return out


def test_train__pairs_in_a_folder__measures_with_intervals_and_classes(run):
    results = rows_of(run / "records.jsonl", "result")
    assert [row["split"] for row in results] == ["val", "test"]
    for row in results:
        assert row["primary"] == "mIoU"
        assert list(row["measures"]) == ["mIoU", "pixel_accuracy", "mean_accuracy", "nll"]
        assert all(each["low"] <= each["value"] <= each["high"] for each in row["measures"].values())
        parts = row["parts"]["class"].values()
        assert np.mean([part[1] for part in parts if part[1] is not None]) == pytest.approx(
            row["measures"]["mIoU"]["value"]
        )
        assert all(len(part) == 4 for part in parts if part[1] is not None)
    (end,) = rows_of(run / "records.jsonl", "end")
    assert end["selection"]["measure"] == "mIoU"


def test_evaluate__once_more__measures_the_same(auxo, run):
    answer = auxo("evaluate", run)
    assert answer.code == 0, answer.err
    before = {row["split"]: row["measures"] for row in rows_of(run / "records.jsonl", "result")}
    assert {row["split"]: row["measures"] for row in rows_of(run / "evaluation.jsonl", "result")} == before


def test_evaluate__corruptions__measure_every_kind(auxo, run):
    answer = auxo("evaluate", run, "--corruptions", "--kinds", "contrast", "--severities", "5")
    assert answer.code == 0, answer.err
    rows = rows_of(run / "corruptions.jsonl", "result")
    assert any(row["split"] == "corruption/contrast/5" for row in rows)
    assert all("mIoU" in row["measures"] for row in rows)


def test_evaluate__pairs_from_elsewhere__are_measured_by_the_same_classes(auxo, run, pairs, tmp_path):
    answer = auxo("evaluate", run, "--data", pairs, "--out", tmp_path / "there.jsonl")
    assert answer.code == 0, answer.err
    (row,) = rows_of(tmp_path / "there.jsonl", "result")
    assert row["n"] == 40


def test_resume__from_the_checkpoint_before_the_last__ends_with_the_same_bits(auxo, run, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(run, again)
    saved = sorted((again / "checkpoints").glob("train-0*.safetensors"))
    for path in (saved[-1], again / "checkpoints" / "train-final.safetensors", again / "model.safetensors"):
        path.unlink()
    answer = auxo("train", "--resume", again)
    assert answer.code == 0, answer.err
    one, other = (read_tensor_file(folder / "model.safetensors").tree["weights"] for folder in (run, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of three sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (height, width) in enumerate(((20, 24), (41, 57), (17, 90))):
        pixels = torch.randint(255, (height, width, 3), generator=torch.Generator().manual_seed(number))
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{number}.png")
    return folder


def test_predict__images_of_any_size__are_masks_of_that_size_in_the_colours_of_the_data(auxo, run, photos, tmp_path):
    answer = auxo("predict", run, photos, "--overlays", "--out", tmp_path / "a.csv")
    assert answer.code == 0, answer.err
    lines = read_lines(tmp_path / "a.csv")
    names = [name for name in lines[0] if name.startswith("share(")]
    assert len(names) == 6
    for line in lines:
        with Image.open(line["path"]) as photo, Image.open(line["image"]) as mask:
            assert (mask.mode, mask.size) == ("P", photo.size)
            numbers, colours = np.asarray(mask), np.asarray(mask.convert("RGB"))
            assert np.array_equal(colours, paint(torch.from_numpy(numbers.astype(np.int64))))
            shares = [float((numbers == number).mean()) for number in range(6)]
            assert [float(line[name]) for name in names] == pytest.approx(shares, abs=1e-6)
            with Image.open(line["image"].replace(".png", "-overlay.png")) as overlay:
                expected = (np.asarray(photo).astype(float) + colours) / 2
                assert np.abs(np.asarray(overlay) - expected).max() <= 0.5


def test_predict__windows_of_the_whole_image__are_the_whole_image(auxo, run, photos, tmp_path):
    for name, words in (("whole", ()), ("large", ("--window", "200")), ("small", ("--window", "16"))):
        answer = auxo("predict", run, photos, *words, "--out", tmp_path / f"{name}.csv")
        assert answer.code == 0, answer.err
    drawn = {
        name: [path.read_bytes() for path in sorted((tmp_path / f"{name}-images").iterdir())]
        for name in ("whole", "large", "small")
    }
    assert drawn["whole"] == drawn["large"] != drawn["small"]


def test_predict__folder_of_pairs__leaves_the_masks_out(auxo, run, pairs, tmp_path):
    answer = auxo("predict", run, pairs, "--out", tmp_path / "a.csv")
    assert answer.code == 0, answer.err
    assert len(read_lines(tmp_path / "a.csv")) == 40


@pytest.mark.parametrize("words", [("--window", "4"), ("--overlap", "1"), ("--scale", "twice")])
def test_predict__windows_that_cannot_be__are_refused_in_one_line(auxo, run, photos, words):
    answer = auxo("predict", run, photos, *words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (2, "", 1)
    assert words[0].removeprefix("--") in answer.err


def test_predict__windows_of_a_classifier__are_refused_in_one_line(auxo, finished_run, photos):
    for words in (("--window", "16"), ("--overlays",)):
        answer = auxo("predict", finished_run, photos / "0.png", *words)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert words[0] in answer.err


def test_export__every_format__predicts_the_same_masks_of_any_size(auxo, run, photos, tmp_path):
    folder = tmp_path / "export"
    answer = auxo("export", run, "--format", "all", "--out", folder)
    assert answer.code == 0, answer.err
    assert json.loads((folder / "preprocess.json").read_text())["any_size"]
    drawn = {}
    for model in (run, folder, folder / "model.pt2", folder / "model.onnx"):
        place = tmp_path / f"{model.name}.csv"
        said = auxo("predict", model, photos, "--trust-pt2", "--out", place)
        assert said.code == 0, said.err
        drawn[model.name] = [
            np.asarray(Image.open(path)) for path in sorted((tmp_path / f"{place.stem}-images").iterdir())
        ]
    for masks in drawn.values():
        for mask, expected in zip(masks, drawn["run"], strict=True):
            assert mask.shape == expected.shape
            assert (mask == expected).mean() > 0.999  # a pixel may lie between two classes to rounding


def test_report__run__shows_images_beside_their_masks(auxo, run, tmp_path):
    answer = auxo("report", run, "--out", tmp_path / "report.html")
    assert answer.code == 0, answer.err
    page = (tmp_path / "report.html").read_text()
    assert all(text in page for text in ("Images and answers", "Answered worst", "Answered best", "mIoU by class"))
    assert "Pixels of each class (rows) by prediction" in page
    assert f"#{bytes(COLOURS[0]).hex()}" in page
    assert "Grad-CAM and t-SNE ask" not in page


def test_explain__run__draws_answers(auxo, run, tmp_path):
    answer = auxo("explain", run, "--out", tmp_path / "why", "--per-class", "1")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == ["answers.jsonl", "answers.png"]


@pytest.mark.slow
def test_compare__two_seeds__tables_the_mean_of_the_primary_measure(auxo, pairs, tmp_path):
    words = ("--methods", "segmenter", "--data.train", pairs, "--seeds", "2", "--epochs", "1", "--processes", "2")
    answer = auxo("compare", *words, *QUICK, "--out", tmp_path / "grid")
    assert answer.code == 0, answer.err
    lines = read_lines(tmp_path / "grid" / "comparison.csv")
    assert {"mIoU", "pixel_accuracy"} <= {line["measure"] for line in lines}


@pytest.mark.slow
def test_sweep__two_rates__chooses_on_the_primary_measure(auxo, pairs, tmp_path):
    words = ("--search", "method.optimizer.lr=choice:0.001,0.03", "--trials", "2", "--sampler", "grid")
    train = ("segmenter", "--data.train", pairs, "--epochs", "1", *QUICK)
    answer = auxo("sweep", *train, *words, "--out", tmp_path / "sweep")
    assert answer.code == 0, answer.err
    assert "mIoU" in (tmp_path / "sweep" / "sweep.md").read_text()
