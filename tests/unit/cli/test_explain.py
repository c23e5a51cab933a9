"""``auxo explain``: what it writes, prints and refuses."""

import json
import shutil

import pytest
from PIL import Image

NAMES = ("gradcam.jsonl", "gradcam.png", "tsne.jsonl", "tsne.png")


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished_run, tmp_path / "run")


def test_explain__finished_run__writes_pictures_and_rows_of_its_test_split(auxo, run):
    answer = auxo("explain", run, "--per-class", 2, "--device", "cpu")
    assert answer.code == 0, answer.err
    folder = run / "explain" / "test"
    assert answer.out.splitlines() == [
        "Grad-CAM: 8 images, layer stage2 (5x5)",
        "t-SNE: 16 images, perplexity 5",
        f"images and rows: {folder}",
    ]
    assert sorted(path.name for path in folder.iterdir()) == list(NAMES)
    settings, *rows = rows_of(folder / "gradcam.jsonl")
    assert settings["run"] == "ossl on lenet5 (run)"
    assert [row["split"] for row in rows] == ["test"] * 8
    assert [row["label"] for row in rows] == [name for name in ("arrow", "corner", "tee", "wedge") for _ in range(2)]
    assert len(rows_of(folder / "tsne.jsonl")) == 17
    for name in ("gradcam.png", "tsne.png"):
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 400


def test_explain__twice__gives_the_same_files(auxo, run, tmp_path):
    for name in ("first", "second"):
        assert (
            auxo("explain", run, "--out", tmp_path / name, "--seed", 4, "--per-class", 1, "--device", "cpu").code == 0
        )
    for name in NAMES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert not (run / "explain").exists()


def test_explain__split_layer_and_class__are_those_that_were_named(auxo, run):
    options = ("--split", "train", "--layer", "stage1", "--class", "label", "--num-points", 12, "--perplexity", 3)
    answer = auxo("explain", run, *options, "--classes", "tee", "arrow", "--batch-size", 5, "--device", "cpu")
    assert answer.code == 0, answer.err
    settings, *rows = rows_of(run / "explain" / "train" / "gradcam.jsonl")
    assert (settings["layer"], settings["map_size"], settings["class"]) == ("stage1", [14, 14], "label")
    assert [row["label"] for row in rows] == ["tee"] * 3 + ["arrow"] * 3
    assert all(row["explained"] == row["label"] for row in rows)
    settings, *rows = rows_of(run / "explain" / "train" / "tsne.jsonl")
    assert (settings["perplexity"], len(rows)) == (3, 12)


def test_explain__folder_of_pictures__is_looked_at_instead(auxo, run, write_picture, shapes_folder, tmp_path):
    for path in sorted(shapes_folder.rglob("*.png"))[::8]:
        target = tmp_path / "mine" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as picture:
            picture.resize((56, 56)).save(target)
    answer = auxo("explain", run, "--data", tmp_path / "mine", "--per-class", 1, "--device", "cpu")
    assert answer.code == 0, answer.err
    _, *rows = rows_of(run / "explain" / "mine" / "tsne.jsonl")
    assert len(rows) == 20
    assert all(str(tmp_path / "mine") in row["image"] for row in rows)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--split", "testing"], "a split of the run, got 'testing': pass --split with one of train, val, test"),
        (["--layer", "stage7"], r"got 'stage7': pass --layer with stage1 (14x14), stage2 (5x5)"),
        (["--perplexity", "16"], "a perplexity in [1, 16), for 16 images, got 16"),
        (["--perplexity", "0"], "perplexity >= 1, got 0"),
        (["--classes", "arow"], "names of classes, got 'arow': did you mean arrow"),
        (["--per-class", "0"], "per-class in [1, 20], got 0"),
        (["--num-points", "3"], "num-points >= 4, one per class, got 3"),
        (["--batch-size", "0"], "batch-size in [1, 65536], got 0"),
        (["--class", "largest"], "options of auxo explain"),
        (["--split", "val", "--data", "x"], "one of --split and --data"),
        (["--data", "nowhere"], "'nowhere', which is not there"),
    ],
)
def test_explain__bad_option__is_refused_in_one_line_and_writes_nothing(auxo, run, words, says):
    answer = auxo("explain", run, *words, "--device", "cpu")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert says in answer.err
    assert not (run / "explain").exists()


def test_explain__one_picture__is_refused(auxo, run, shapes_folder, tmp_path):
    target = tmp_path / "single" / "tee" / "one.png"
    target.parent.mkdir(parents=True)
    shutil.copy(next(iter((shapes_folder / "tee").iterdir())), target)
    answer = auxo("explain", run, "--data", tmp_path / "single", "--device", "cpu")
    assert answer.code == 2
    assert "at least 2 images for t-SNE, got 1" in answer.err


def test_explain__unfinished_run__is_refused(auxo, run):
    (run / "model.safetensors").unlink()
    answer = auxo("explain", run, "--device", "cpu")
    assert answer.code == 2
    assert f"a finished run in {run}, got no model.safetensors" in answer.err


def test_explain__no_run__is_refused(auxo, tmp_path):
    answer = auxo("explain", tmp_path)
    assert answer.code == 2
    assert "a run directory at" in answer.err


def test_explain__place_that_is_a_file__is_refused(auxo, run, tmp_path):
    (tmp_path / "file").touch()
    answer = auxo("explain", run, "--out", tmp_path / "file", "--device", "cpu")
    assert answer.code == 2
    assert f"to write {tmp_path / 'file'}" in answer.err
