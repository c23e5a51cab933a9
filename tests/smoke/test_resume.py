"""Runs that are killed and go on end with the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

OPTIONS = (
    *("--epochs", "40", "--batch-size", "16", "--selection.keep", "best", "--data.augment", "crop_flip"),
    *("--training.log-every", "3", "--training.checkpoint-every", "7", "--training.evaluate-every", "9"),
    *("--training.no-tensorboard", "--runtime.threads", "1"),
)
KILLS = 3


def command(words, processes, restarts):
    program = [sys.executable, "-m", "auxo"]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        program = [sys.executable, *launcher, "--max-restarts", str(restarts), "-m", "auxo"]
    return [*program, "train", *words]


def launch(words, processes, restarts=0):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(words, processes, restarts),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    _, errors = process.communicate(timeout=1500)
    assert process.returncode == 0, errors


def kill_with_children(process):
    """SIGKILL a process and all below it; a worker of torchrun leads a process group of its own."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family[1:], timeout=30)
    process.communicate()


def wait_for_growth(path, process):
    """Wait until a file is longer than now."""
    size = path.stat().st_size if path.exists() else 0
    while (path.stat().st_size if path.exists() else 0) <= size:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


@pytest.mark.slow  # tests/faults has deaths at single operations on every change
@pytest.mark.parametrize("processes", [1, 2])
def test_run__killed_again_and_again_and_resumed__same_bytes_as_uninterrupted(shapes_folder, tmp_path, processes):
    recipe = ["ossl", "--data.train", str(shapes_folder), *OPTIONS]
    finish(launch([*recipe, "--out", str(tmp_path / "whole")], processes))

    generator = random.Random(processes)
    out = tmp_path / "killed"
    words = [*recipe, "--out", str(out)]
    kills = 0
    while kills < KILLS:
        process = launch(words, processes)
        wait_for_growth(out / "records.jsonl", process)
        time.sleep(generator.uniform(0.0, 0.6))
        kill_with_children(process)
        assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
        kills += 1
        words = ["--resume", str(out)]
    finish(launch(words, processes))
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


FOUR_STAGES = (
    *("--backbone.name", "resnet8", "--data.augment", "crop", "--training.log-every", "2"),
    *("--training.checkpoint-every", "3", "--training.evaluate-every", "100"),
    *("--training.no-tensorboard", "--runtime.threads", "1"),
    *("--pretrain.batch-size", "16", "--pretrain.epochs", "4", "--warm-up.batch-size", "16", "--warm-up.epochs", "8"),
    *("--bilevel.batch-size", "16", "--bilevel.epochs", "4", "--fine-tune.batch-size", "16", "--fine-tune.epochs", "8"),
    *("--bilevel.method.pretext-ratio", "1", "--bilevel.method.lower-steps", "5"),
)


@pytest.mark.slow
def test_four_stages__killed_in_each_and_resumed__same_bytes_as_uninterrupted(shapes_folder, tmp_path):
    recipe = ["bissl", "--data.train", str(shapes_folder), "--data.num-labelled", "None", *FOUR_STAGES]
    finish(launch([*recipe, "--out", str(tmp_path / "whole")], 1))
    out = tmp_path / "killed"
    words = [*recipe, "--out", str(out)]
    for stage in ("pretrain", "warm-up", "bilevel", "fine-tune"):
        process = launch(words, 1)
        wait_for_growth(out / "records.jsonl", process)
        while f'"stage": "{stage}", "step": 8' not in (out / "records.jsonl").read_text():
            assert process.poll() is None, "the run ended before it was killed"
            time.sleep(0.005)
        kill_with_children(process)
        assert not (out / "checkpoints" / f"{stage}-final.safetensors").exists(), f"{stage} ended before the kill"
        words = ["--resume", str(out)]
    finish(launch(words, 1))
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_torchrun__a_worker_killed_with_restarts_left__goes_on_to_the_same_bytes(shapes_folder, tmp_path):
    recipe = ["ossl", "--data.train", str(shapes_folder), *OPTIONS]
    finish(launch([*recipe, "--out", str(tmp_path / "whole")], 2))
    out = tmp_path / "restarted"
    process = launch([*recipe, "--out", str(out)], 2, restarts=2)
    wait_for_growth(out / "records.jsonl", process)
    workers = [p for p in psutil.Process(process.pid).children(recursive=True) if "train" in p.cmdline()]
    workers[-1].kill()
    finish(process)
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_resume__of_a_run_that_still_trains__refused_in_one_line(shapes_folder, tmp_path):
    out = tmp_path / "run"
    process = launch(["ossl", "--data.train", str(shapes_folder), *OPTIONS, "--out", str(out)], 1)
    wait_for_growth(out / "records.jsonl", process)
    second = launch(["--resume", str(out)], 1)
    _, errors = second.communicate(timeout=1500)
    kill_with_children(process)
    assert second.returncode == 2
    assert errors.startswith(f"auxo: expected to be alone in {out}, got another process")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_run__signalled__saves_and_leaves_with_one_line(shapes_folder, tmp_path, number, code):
    out = tmp_path / "run"
    process = launch(["ossl", "--data.train", str(shapes_folder), *OPTIONS, "--out", str(out)], 1)
    wait_for_growth(out / "records.jsonl", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=1500)
    assert process.returncode == code
    assert len(errors.splitlines()) == 1
    assert f"auxo train --resume {out}" in errors
    step = int(errors.partition("at step ")[2].partition(";")[0])
    assert (out / "checkpoints" / f"train-{step:08d}.safetensors").exists()
