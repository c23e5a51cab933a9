"""Pretexts of a file: chosen by their names with their own options, in the run's digest, and in worker processes."""

import json
from pathlib import Path

import pytest

PUZZLES = (Path(__file__).parents[1] / "outside" / "puzzles.py").read_text()
QUICK = (
    "--batch-size",
    "16",
    "--epochs",
    "1",
    "--training.no-tensorboard",
    "--runtime.threads",
    "1",
    "--device",
    "cpu",
)


@pytest.fixture
def train(auxo, tmp_path, monkeypatch, shapes_folder):
    """Return a function that trains in a folder with the file and returns the pretext rows of the run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "puzzles.py").write_text(PUZZLES)

    def train(recipe, *options):
        answer = auxo("train", recipe, "--data.train", shapes_folder, *QUICK, *options, "--out", "run")
        assert answer.code == 0, answer.err
        rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
        return [row for row in rows if row["kind"] == "result" and row["head_kind"] == "pretext"]

    return train


def test_one_image__in_joint_training__has_its_options_and_its_chance(auxo, train, tmp_path):
    rows = train("rotation", "--pretext.name", "puzzles.py:Brightness", "--pretext.steps", "3")
    assert {(row["head"], row["chance"]) for row in rows} == {("Brightness", 1 / 3)}
    config = json.loads((tmp_path / "run" / "config.json").read_text())["run"]
    assert config["pretext"] == {"name": f"{tmp_path}/puzzles.py:Brightness", "steps": 3}
    answer = auxo("evaluate", "run", "--device", "cpu")
    assert "your leave to run what is outside auxo" in answer.err
    assert auxo("evaluate", "run", "--device", "cpu", "--code", "puzzles.py").code == 0
    (tmp_path / "run" / "model.safetensors").unlink()
    assert auxo("train", "--resume", "run", "--code", "puzzles.py").code == 0
    (tmp_path / "run" / "model.safetensors").unlink()
    (tmp_path / "puzzles.py").write_text(f"{PUZZLES}# edited\n")
    answer = auxo("train", "--resume", "run", "--code", "puzzles.py")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)


def test_one_quadrant__in_a_gated_mixture__stands_beside_auxos_own(auxo, train):
    rows = train("gssl", "--method.pretexts.tasks", "puzzles.py:UpsideDown", "lorot")
    assert {(row["head"], row["chance"]) for row in rows} == {("UpsideDown", 1 / 2), ("lorot", 1 / 16)}
    answer = auxo("train", "gssl", "--method.pretexts.tasks", "puzzles.py:Brightness", "--out", "other")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "--method.pretexts.tasks of pretexts that change one quadrant and leave the rest, got puzzles" in answer.err


def test_two_views__in_pretraining__has_its_options(auxo, tmp_path, monkeypatch, shapes_folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "puzzles.py").write_text(PUZZLES)
    stages = ("--pretrain.epochs", "1", "--fine-tune.epochs", "1", "--data.num-labelled", "None")
    words = ("--pretext.name", "puzzles.py:Agreement", "--pretext.width", "2", *stages, *QUICK[4:])
    answer = auxo("train", "pretrain", "--data.train", shapes_folder, *words, "--out", "run")
    assert answer.code == 0, answer.err
    answer = auxo("train", "pretrain", "--data.train", shapes_folder, *words, "--pretext.width", "0", "--out", "other")
    assert "expected --pretext.width >= 1, got 0" in answer.err


@pytest.mark.slow
def test_sweep__options_of_a_pretext_of_a_file__are_searched_in_processes(auxo, tmp_path, monkeypatch, shapes_folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "puzzles.py").write_text(PUZZLES)
    search = ("--search", "pretext.steps=choice:2,3", "--sampler", "grid", "--processes", "2", "--out", "study")
    options = ("--data.train", shapes_folder, "--pretext.name", "puzzles.py:Brightness", *QUICK)
    answer = auxo("sweep", "rotation", *search, *options)
    assert answer.code == 0, answer.err + answer.out
    found = [json.loads(path.read_text())["run"]["pretext"] for path in (tmp_path / "study").rglob("config.json")]
    assert {pretext["steps"] for pretext in found} == {2, 3}
