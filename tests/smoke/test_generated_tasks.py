"""DTG-AuxL from the command line, on tasks that it does not know: a class and a distance for every pixel."""

import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIXELS, NET = ROOT / "tests" / "outside" / "pixels.py", ROOT / "tests" / "outside" / "net.py"
DEPTH = ROOT / "examples" / "my_task.py"
TASKS = {
    "classes": ("--task.name", f"{PIXELS}:PixelClasses", "--data.train", f"{PIXELS}:train"),
    "distances": ("--task.name", f"{DEPTH}:Depth", "--data.train", f"{DEPTH}:scenes", "--data.num-train", "80"),
}


@pytest.mark.parametrize("task", TASKS)
def test_train__a_task_with_places__generates_and_judges(auxo, tmp_path, task):
    quick = ("--epochs", "1", "--batch-size", "16", "--training.no-tensorboard", "--runtime.threads", "1")
    quick += ("--method.optimizer.name", "adamw", "--method.optimizer.lr", "0.003")
    words = (*TASKS[task], "--backbone.name", f"{NET}:TinyNet", "--method.upper-every", "2", *quick)
    answer = auxo("train", "dtg_auxl", *words, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    (losses,) = (row["losses"] for row in rows if row["kind"] == "losses")
    assert {"primary_loss", "generated_loss", "upper_loss", "generated_variance"} <= set(losses)
    assert all(math.isfinite(value) for value in losses.values())
    assert any(row["kind"] == "result" and row["split"] == "test" for row in rows)


def test_train__a_batch_of_one_image__refused_in_one_line(auxo, tmp_path):
    answer = auxo("train", "dtg_auxl", "--batch-size", "1", "--epochs", "1", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "expected two images or more to compare, got 1" in answer.err
    assert "Traceback" not in answer.err
