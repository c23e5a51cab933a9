"""The example of a method outside the package, through the command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from auxo.cli import main
from auxo.registry.outside import import_file

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_method.py"


def call(capsys, *words):
    """Run a command; return its exit code and what it printed."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return stop.value.code, said.out, said.err


@pytest.fixture
def trained(photos, tmp_path, capsys):
    """A run of the example over one epoch, and its table."""
    out = tmp_path / "run"
    options = ("--data.train", photos / "train", "--epochs", "1", "--batch-size", "20", "--device", "cpu")
    code, printed, errors = call(capsys, "train", f"{EXAMPLE}:recipe", *options, "--out", out)
    assert code == 0, errors
    return out, printed


def test_example__its_file__is_short():
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 60


def test_example__trained__is_in_the_table_with_both_heads(trained):
    out, printed = trained
    header = next(line for line in printed.splitlines() if "split" in line)
    assert "semantic" in header
    assert "rotation" in header
    assert "| test | " in (out / "report.md").read_text(encoding="utf-8")


def test_example__evaluated_with_leave__measures_again(trained, capsys):
    out, _ = trained
    code, printed, _ = call(capsys, "evaluate", out, "--code", EXAMPLE, "--device", "cpu")
    assert code == 0
    assert "rotation" in printed
    assert (out / "evaluation.jsonl").exists()


def test_example__evaluated_without_leave__is_refused_in_one_line(trained, capsys):
    out, _ = trained
    code, _, errors = call(capsys, "evaluate", out, "--device", "cpu")
    assert code == 2
    assert f"--code {EXAMPLE}" in errors
    assert len(errors.splitlines()) == 1


def test_task__of_every_pixel__is_trained_judged_and_drawn(tmp_path, capsys):
    task, out, images = EXAMPLE.with_name("my_task.py"), tmp_path / "run", tmp_path / "hills"
    code, printed, errors = call(capsys, "train", f"{task}:recipe", "--epochs", "3", "--device", "cpu", "--out", out)
    assert code == 0, errors
    assert "Error in m (lower is better), with its 95 % interval" in " ".join(printed.split())
    shown = import_file(task).make_scenes("hills", 2, seed=2)
    images.mkdir()
    for number, pixels in enumerate(shown.images):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(images / f"{number}.png")
    code, _, errors = call(capsys, "predict", out, images, "--code", task, "--out", tmp_path / "depth.csv")
    assert code == 0, errors
    with Image.open(tmp_path / "depth-images" / "00001-1.png") as drawn:
        told = np.asarray(drawn) / 25.5
    truth = shown.maps["depth"].values[1].numpy()
    assert np.abs(told - truth).mean() < np.abs(truth - truth.mean()).mean()
