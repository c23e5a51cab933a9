"""``auxo predict``: the CSV of a classifier, and answers that are images."""

import csv
import dataclasses
import io
import json
import os
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from auxo.cli import main
from auxo.cli.named_images import find_images
from auxo.cli.train import read_run_config
from auxo.data import DataConfig
from auxo.data.readers import read_unlabelled
from auxo.errors import ConfigError
from auxo.export import predictor_of
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

OUTSIDE = Path(__file__).parents[2] / "outside"
CODE = ("--code", str(OUTSIDE / "pixels.py"), "--code", str(OUTSIDE / "net.py"))
NAMES = ("ground", "square", "stripe")


@pytest.fixture(scope="module")
def pixel_run(tmp_path_factory):
    """A finished run whose answers are images."""
    out = tmp_path_factory.mktemp("pixels") / "run"
    words = ["--epochs", "1", "--training.no-tensorboard", "--runtime.threads", "1", "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        main(["train", f"{OUTSIDE / 'pixels.py'}:recipe", *words])
    assert stop.value.code == 0
    return out


@pytest.fixture
def alike(tmp_path, write_picture):
    """Two folders with images of the same names and other pixels."""
    for number, folder in enumerate(("one", "two")):
        for name in ("a", "b"):
            generator = torch.Generator().manual_seed(10 * number + ord(name))
            pixels = torch.randint(0, 255, (3, 16, 16), generator=generator, dtype=torch.uint8)
            write_picture(tmp_path / "pictures" / folder / f"{name}.png", pixels)
    return tmp_path / "pictures"


def read_lines(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_predict__classes__are_the_bytes_that_auxo_always_wrote(auxo, finished_run, shapes_folder, tmp_path):
    answer = auxo("predict", finished_run, shapes_folder, "--out", tmp_path / "out.csv", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert answer.out == f"160 predictions: {tmp_path / 'out.csv'}\n"
    paths = sorted(shapes_folder.rglob("*.png"))
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        model = load_model(read_run_config(finished_run), finished_run, runtime=runtime)
        pixels = torch.stack([torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) for path in paths])
        images = (pixels.float() / 255 - model.pipeline.mean.view(-1, 1, 1)) / model.pipeline.std.view(-1, 1, 1)
        with torch.inference_mode():
            probabilities = model.method.predict(images).float().softmax(dim=1)
    text = io.StringIO()
    writer = csv.writer(text)
    names = ("arrow", "corner", "tee", "wedge")
    writer.writerow(["path", "prediction", "probability", *(f"p({name})" for name in names)])
    for path, values in zip(paths, probabilities.tolist(), strict=True):
        cells = [f"{value:.6f}" for value in values]
        best = values.index(max(values))
        writer.writerow([path, names[best], cells[best], *cells])
    assert (tmp_path / "out.csv").read_bytes() == text.getvalue().encode()
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize(("out", "folder"), [("answers.csv", "answers-images"), ("answers", "answers-images")])
def test_predict__answers_that_are_images__are_written_under_names_of_their_own(
    auxo, pixel_run, alike, tmp_path, out, folder
):
    answer = auxo("predict", pixel_run, alike, *CODE, "--batch-size", 3, "--out", tmp_path / out)
    assert answer.code == 0, answer.err
    assert answer.out == f"4 predictions: {tmp_path / out}, images in {tmp_path / folder}\n"
    lines = read_lines(tmp_path / out)
    assert list(lines[0]) == ["path", *(f"share({name})" for name in NAMES), "image"]
    names = ["00000-a.png", "00001-b.png", "00002-a.png", "00003-b.png"]
    assert [Path(line["image"]) for line in lines] == [tmp_path / folder / name for name in names]
    assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names
    for line in lines:
        with Image.open(line["image"]) as drawn:
            values = np.asarray(drawn)
        assert values.shape == (16, 16)
        shares = [float((values == 85 * number).mean()) for number in range(3)]
        assert [float(line[f"share({name})"]) for name in NAMES] == pytest.approx(shares, abs=1e-4)


def test_predict__picture_that_cannot_be_read__leaves_no_csv(auxo, pixel_run, alike, tmp_path):
    (alike / "two" / "z.png").write_bytes(b"no image")
    answer = auxo("predict", pixel_run, alike, *CODE, "--batch-size", 1, "--out", tmp_path / "answers.csv")
    assert answer.code == 2
    assert "z.png" in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "answers.csv").exists()


def test_predict__folder_of_images_that_cannot_be_made__is_refused_in_one_line(auxo, pixel_run, alike, tmp_path):
    (tmp_path / "answers-images").write_text("a file")
    answer = auxo("predict", pixel_run, alike, *CODE, "--out", tmp_path / "answers.csv")
    assert answer.code != 0
    assert str(tmp_path / "answers-images") in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "answers.csv").exists()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("alike/answers.csv", "outside the images that are read"),
        ("old.csv", "no answers in .*old-images yet, got some"),
    ],
)
def test_predict__answers_among_images_or_among_others__are_refused_and_nothing_is_written(
    auxo, pixel_run, alike, tmp_path, out, words
):
    (tmp_path / "old-images").mkdir()
    (tmp_path / "old-images" / "kept.png").write_bytes(b"kept")
    place = alike if out.startswith("alike") else tmp_path
    before = sorted(path for path in tmp_path.rglob("*"))
    answer = auxo("predict", pixel_run, alike, *CODE, "--out", place / Path(out).name)
    assert answer.code == 2
    assert re.search(words, answer.err)
    assert answer.err.count("\n") == 1
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.fixture
def mixed(tmp_path, shapes_folder):
    """A folder of images with endings of many kinds, a hidden one and a linked folder, as other commands read it."""
    folder, far = tmp_path / "mixed", tmp_path / "far"
    image = Image.open(next(shapes_folder.rglob("*.png")))
    for place, name in ((far, "a.JPG"), *((folder / "b", f"x{each}") for each in (".jfif", ".jpe", ".pnm", ".apng"))):
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / name)
    image.save(folder / "j.j2k")
    image.save(folder / ".thumbnail.png")
    (folder / "linked").symlink_to(far)
    return folder


def test_predict__folder__is_the_images_that_every_other_command_sees(auxo, finished_run, mixed):
    out = mixed / "answers.csv"
    for _ in range(2):  # the second time the answers of the first lie there
        answer = auxo("predict", finished_run, mixed, "--out", out)
        told = f"note: left out 1 file or folder of '{mixed}' that is no image: .thumbnail.png\n"
        assert (answer.code, answer.err) == (0, told)
        paths = [line["path"] for line in read_lines(out)]
    for path in (out, mixed / "answers-1.csv"):
        path.unlink()
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        model = load_model(read_run_config(finished_run), finished_run, runtime=runtime)
        seen = read_unlabelled(str(mixed), model.size_images(read_run_config(finished_run).data))
    assert paths == [seen.describe(i) for i in range(len(seen))]
    assert [Path(path).name for path in paths] == ["x.apng", "x.jfif", "x.jpe", "x.pnm", "j.j2k", "a.JPG"]


def test_predict__files_that_are_no_images__are_left_out_and_told(auxo, finished_run, mixed, tmp_path):
    (mixed / "b" / "notes.txt").touch()
    (mixed / "photo.heic").touch()
    answer = auxo("predict", finished_run, mixed, "--out", tmp_path / "answers.csv")
    assert answer.code == 0
    names = "notes.txt, photo.heic, .thumbnail.png"
    assert answer.err == f"note: left out 3 files and folders of '{mixed}' that are no images: {names}\n"
    os.mkfifo(mixed / "pipe.png")
    for words, says in (((mixed,), "pipe.png, a pipe"), ((mixed / "pipe.png",), "which is a pipe")):
        answer = auxo("predict", finished_run, *words, "--out", tmp_path / "answers.csv")
        assert answer.code == 2
        assert says in answer.err
        assert answer.err.count("\n") == 1


@pytest.fixture
def table(shapes_folder, tmp_path):
    """Four images as a Parquet file and as a CSV of paths, and their paths."""
    paths = sorted(shapes_folder.rglob("*.png"))[:4]
    cells = [{"bytes": path.read_bytes(), "path": None} for path in paths]
    datasets.Dataset.from_dict({"photo": cells}).to_parquet(tmp_path / "shots.parquet")
    lines = ["file,place", *(f"{os.path.relpath(path, tmp_path)},{number}" for number, path in enumerate(paths))]
    (tmp_path / "shots.csv").write_text("\n".join(lines) + "\n")
    return paths


def test_predict__parquet_and_csv__are_answered_as_the_files_are(auxo, finished_run, table, tmp_path):
    told = {}
    for name, words in {
        "files": (*table,),
        "parquet": (tmp_path / "shots.parquet", "--data.image-column", "photo"),
        "csv": (tmp_path / "shots.csv", "--data.path-column", "file"),
    }.items():
        answer = auxo("predict", finished_run, *words, "--device", "cpu", "--out", tmp_path / f"{name}.out")
        assert (answer.code, answer.err) == (0, "")
        told[name] = read_lines(tmp_path / f"{name}.out")
    places = {name: [line.pop("path") for line in lines] for name, lines in told.items()}
    assert told["parquet"] == told["csv"] == told["files"]
    assert [Path(place).resolve() for place in places["csv"]] == table
    assert places["parquet"] == [f"row {number} of {tmp_path / 'shots.parquet'}" for number in range(4)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("shots.parquet",), "name it with --data.image-column"),
        (("shots.csv",), "name it with --data.path-column"),
        (("shots.tsv",), "not there"),
        (("--top", "0"), "top >= 1, got 0"),
    ],
)
def test_predict__wrong_column_or_place__is_refused_in_one_line(auxo, finished_run, table, tmp_path, words, says):
    place = [tmp_path / word if word.startswith("shots") else word for word in words]
    answer = auxo("predict", finished_run, *place, *table[:1], "--out", tmp_path / "x.csv")
    assert answer.code == 2
    assert says in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "x.csv").exists()


def test_predict__top__gives_the_likeliest_in_order_as_csv_and_json(auxo, finished_run, table, tmp_path):
    outs = {kind: tmp_path / f"top.{kind}" for kind in ("csv", "json", "jsonl")}
    for out in outs.values():
        assert auxo("predict", finished_run, *table, "--top", 2, "--device", "cpu", "--out", out).code == 0
    assert auxo("predict", finished_run, *table, "--device", "cpu", "--out", tmp_path / "all.json").code == 0
    assert auxo("predict", finished_run, *table, "--device", "cpu", "--out", tmp_path / "all.csv").code == 0
    rows, whole = json.loads(outs["json"].read_text()), json.loads((tmp_path / "all.json").read_text())
    assert [json.loads(line) for line in outs["jsonl"].read_text().splitlines()] == rows
    for line, row, every, cells in zip(
        read_lines(outs["csv"]), rows, whole, read_lines(tmp_path / "all.csv"), strict=True
    ):
        best = sorted(((float(p), name[2:-1]) for name, p in cells.items() if name.startswith("p(")), reverse=True)
        columns = ["prediction", "probability", "prediction_2", "probability_2"]
        assert list(line) == ["path", *columns]
        assert [line[column] for column in columns[::2]] == [name for _, name in best[:2]]
        assert [float(line[column]) for column in columns[1::2]] == [p for p, _ in best[:2]]
        assert [each["class"] for each in row["best"]] == [name for _, name in best[:2]]
        assert row["prediction"] == row["best"][0]["class"]
        assert every["best"][:2] == row["best"]
        assert sum(each["probability"] for each in every["best"]) == pytest.approx(1)


def test_predict__embeddings__are_the_features_that_the_head_reads(auxo, finished_run, table, tmp_path):
    out = tmp_path / "found.csv"
    answer = auxo("predict", finished_run, *table, "--embeddings", "--device", "cpu", "--out", out)
    assert answer.code == 0, answer.err
    found = np.load(tmp_path / "found-embeddings.npy")
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        method = load_model(read_run_config(finished_run), finished_run, runtime=runtime).method
    logits = method.semantic(torch.from_numpy(found)).detach()
    given = [[float(p) for name, p in line.items() if name.startswith("p(")] for line in read_lines(out)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(logits.softmax(1).numpy(), given, atol=2e-6)


def test_predict__twice__keeps_the_earlier_files_and_says_where(auxo, finished_run, table, tmp_path):
    words = ("predict", finished_run, "--embeddings", "--device", "cpu", "--out", tmp_path / "a.csv")
    assert auxo(*words, *table[:1]).code == 0
    before = (tmp_path / "a.csv").read_bytes()
    answer = auxo(*words, *table)
    assert f"an earlier file is now {tmp_path / 'a-1.csv'}" in answer.out
    assert f"an earlier file is now {tmp_path / 'a-embeddings-1.npy'}" in answer.out
    assert (tmp_path / "a-1.csv").read_bytes() == before
    assert len(read_lines(tmp_path / "a.csv")) == len(np.load(tmp_path / "a-embeddings.npy")) == 4


def test_predict__top_of_a_task_without_classes_of_images__is_refused(auxo, pixel_run, alike, tmp_path):
    answer = auxo("predict", pixel_run, alike, *CODE, "--top", 2, "--out", tmp_path / "a.csv")
    assert answer.code == 2
    assert "got --top 2 with" in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "a.csv").exists()


def test_answer_images__file_with_outputs_alone__has_no_embeddings(finished_run, table):
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        whole = predictor_of(load_model(read_run_config(finished_run), finished_run, runtime=runtime), runtime)
        images = list(find_images(str(table[0]), Path("a.csv"), DataConfig()))
        bare = dataclasses.replace(whole, embeds=None)
        assert next(bare.answer_images(images, batch_size=1)).embedding is None
        with pytest.raises(ConfigError, match=r"with --embeddings.*or predict with the run or its safetensors export"):
            next(bare.answer_images(images, batch_size=1, with_embeddings=True))
