"""A comparison that is stopped in the middle, by signals or by SIGKILL, and goes on without repeating what is done."""

import json
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.slow

OPTIONS = ("--training.no-tensorboard", "--training.checkpoint-every", "20", "--training.log-every", "2")


@pytest.fixture
def recipes(tmp_path):
    """Two recipes as files: a short run, and one that takes seconds at least."""
    for name, epochs in (("short", 2), ("long", 250)):
        text = (
            "from dataclasses import replace\n"
            "from auxo.runs.document import load_recipe\n\n\n"
            "def recipe():\n"
            "    run = load_recipe('rotation')\n"
            f"    return replace(run, stages=(replace(run.stages[0], epochs={epochs}, batch_size=32),))\n"
        )
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def start(recipes, shapes_folder):
    """Begin a grid of two runs."""
    methods = f"{recipes / 'short.py'},{recipes / 'long.py'}"
    words = ["compare", "--data.train", str(shapes_folder), "--methods", methods, "--seeds", "1", "--budget", "recipe"]
    words += ["--processes", "2", "--threads", "1", "--out", str(recipes / "grid"), *OPTIONS]
    return subprocess.Popen(
        [sys.executable, "-m", "auxo", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


def count_rows(folder, kind):
    path = folder / "records.jsonl"
    return path.read_text().count(f'"kind": "{kind}"') if path.exists() else 0


def state_of(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_compare__killed_with_one_run_done__goes_on_and_repeats_nothing(recipes, shapes_folder):
    short, long = recipes / "grid" / "short-seed0", recipes / "grid" / "long-seed0"
    process = start(recipes, shapes_folder)
    wait_until(lambda: count_rows(short, "end") and count_rows(long, "losses") > 30, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "workers outlive the process that started them"
    assert not (long / "model.safetensors").exists()
    assert "the state is saved" in (long / "log.txt").read_text()
    before = state_of(short)

    process = start(recipes, shapes_folder)
    out, errors = process.communicate(timeout=1500)
    assert process.returncode == 0, errors
    assert "[1/2] reused short-seed0" in out
    assert "[2/2] finished long-seed0" in out
    assert state_of(short) == before
    first, second = map(int, re.findall(r"train: step (\d+) of", (long / "log.txt").read_text()))
    assert first == 0 < second
    rows = [json.loads(line) for line in (long / "records.jsonl").read_text().splitlines()]
    logged = [row["step"] for row in rows if row["kind"] == "losses"]
    assert logged == sorted(set(logged)), "steps were told twice"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_compare__signalled__workers_save_and_the_command_says_how_to_go_on(recipes, shapes_folder, number, code):
    long = recipes / "grid" / "long-seed0"
    process = start(recipes, shapes_folder)
    wait_until(lambda: count_rows(long, "losses") > 10, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=1500)
    assert process.returncode == code
    assert len(errors.splitlines()) == 1
    assert "give the same command again" in errors
    assert not any(child.is_running() for child in children)
    assert list((long / "checkpoints").glob("train-*.safetensors"))
