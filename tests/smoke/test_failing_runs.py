"""Runs that break off: a full disk, a loss that is no number, a port in use, a signal. What was saved stays whole."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from auxo.runs.records import read_records

BREAKING = """
from dataclasses import dataclass
import torch
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.methods.supervised import Supervised

class Breaking(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        spoils: str = "loss"

    def update(self, state, batches, runtime):
        metrics = super().update(state, batches, runtime)
        if self.config.spoils == "nothing":
            return None
        if self.config.spoils == "file":
            open("table-of-mine.csv")
        if self.config.spoils == "memory":
            torch.empty(2**60)
        is_good = state.step < 3
        if not is_good and self.config.spoils == "weights":
            torch.nn.init.constant_(self.semantic.bias, float("inf"))
        is_number = is_good or self.config.spoils != "loss"
        return {**metrics, "extra_loss": torch.tensor(1.0 if is_number else float("nan"))}

def recipe():
    return ExperimentConfig(stages=(StageConfig(method=Breaking.Config()),))
"""


def line_of(answer, code):
    """Return the only line of a failed command, having checked its form and the exit code."""
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    assert re.fullmatch(r"auxo: expected .+, got .+: .+", lines[0])
    assert answer.code == code
    return lines[0]


def files(folder):
    """Return every file below a folder with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_train__disk_full_at_the_checkpoint__leaves_no_half_and_goes_on_when_freed(auxo, place, full_disk):
    with full_disk(100_000):
        answer = auxo(*place.train())
    assert re.search(r"to write .*train-00000004.safetensors, got file too large: free the disk", line_of(answer, 2))
    assert list((place.out / "checkpoints").iterdir()) == []
    assert auxo("train", "--resume", place.out).code == 0
    assert (place.out / "model.safetensors").read_bytes() == (place.finished / "model.safetensors").read_bytes()


def test_train__disk_full_at_the_records__drops_the_half_line_and_goes_on_when_freed(auxo, place, full_disk):
    with full_disk(6000):  # more than the config, less than the records
        answer = auxo(*place.train("--training.log-every", 1, "--batch-size", 4))
    assert re.search(r"to write .*records.jsonl, got file too large: free the disk and --resume", line_of(answer, 2))
    assert auxo("train", "--resume", place.out).code == 0
    steps = [row["step"] for row in read_records(place.out / "records.jsonl") if row["kind"] == "losses"]
    assert steps == list(range(1, 33))


def test_train__disk_full_at_the_curves__is_told_in_one_line(auxo, place, full_disk):
    with full_disk(3000):
        answer = auxo(*place.train("--training.tensorboard", "--training.log-every", 1, "--batch-size", 4))
    assert "got file too large" in line_of(answer, 2)


def test_resume__disk_full__leaves_every_file_of_the_run_as_it_was(auxo, place, full_disk):
    before = files(place.run)
    with full_disk(100_000):
        answer = auxo("train", "--resume", place.run)
    assert "got file too large" in line_of(answer, 2)
    after = files(place.run)
    records = after.pop(next(path for path in after if path.name == "records.jsonl"))
    del before[next(path for path in before if path.name == "records.jsonl")]
    assert after == before
    assert records


def test_train__learning_rate_without_bounds__names_term_and_step(auxo, place):
    line = line_of(auxo(*place.train("--method.optimizer.lr", "1e30", "--training.checkpoint-every", 1)), 3)
    assert re.search(r"a finite \w+_loss, got (nan|inf) at step 1: lower the learning rate; there is no", line)
    assert list((place.out / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("spoils", "says"),
    [
        ("loss", "expected a finite extra_loss, got nan at step 4"),
        ("weights", "expected finite weights, got others in semantic.bias after step 4"),
    ],
)
def test_train__not_finite_at_a_step__keeps_the_last_good_checkpoint_that_loads(auxo, place, spoils, says):
    recipe = place.write("breaking.py", BREAKING)
    options = ("--method.spoils", spoils, "--training.checkpoint-every", 1, *place.train()[4:], "--batch-size", 16)
    line = line_of(auxo("train", recipe, "--data.train", place.shapes, *options), 3)
    good = place.out / "checkpoints" / "train-00000003.safetensors"
    assert line == f"auxo: {says}: lower the learning rate; the last good checkpoint is {good}"
    before = good.read_bytes()
    assert line_of(auxo("train", "--resume", place.out, "--code", recipe), 3) == line
    assert good.read_bytes() == before
    assert not (place.out / "model.safetensors").exists()


def breaking(place, spoils):
    """The words of a run whose update breaks."""
    recipe = place.write("breaking.py", BREAKING)
    options = ("--method.spoils", spoils, *place.train()[4:], "--batch-size", 16)
    return ["train", recipe, "--data.train", place.shapes, *options]


def test_train__update_that_returns_nothing__says_what_to_return(auxo, place):
    line = line_of(auxo(*breaking(place, "nothing")), 2)
    assert "metrics by name from update, got NoneType at step 1: return a dict of detached tensors" in line


def test_train__update_out_of_memory__names_batch_and_image_size(auxo, place):
    line = line_of(auxo(*breaking(place, "memory")), 2)
    assert "memory for a step on 16 images of 28x28 pixels, got" in line
    assert "pass a smaller --batch-size or --data.image-size" in line


def test_train__update_that_misses_a_file_of_its_own__keeps_its_traceback(place):
    from auxo.cli import main

    with pytest.raises(FileNotFoundError, match="table-of-mine"):
        main([str(word) for word in breaking(place, "file")])


def test_train__several_processes_without_out__asks_for_one_name(assert_refused, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert_refused("train", "ossl", says=r"--out with several processes, got none: name the run directory")


def test_train__timm_missing__says_how_to_install_it(assert_refused, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    words = place.train("--backbone.name", "timm:resnet18")
    assert_refused(*words, says=r"the package timm for a timm:\* backbone, got .*: pip install 'auxo\[timm\]'")


# A suite that a shell started in the background ignores SIGINT, and so would its children.
AUXO = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from auxo.cli import main; main()"


def launch(words, **environment):
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", AUXO, *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_train__port_in_use__is_told_in_one_line_and_nothing_is_written(place):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        process = launch(
            place.train(), RANK="0", LOCAL_RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port
        )
        _, errors = process.communicate(timeout=1500)
    print(errors)
    assert process.returncode == 2
    assert re.fullmatch(r"auxo: expected 2 processes to find each other, got .+: .+--master-port.+\n", errors)
    assert not place.out.exists()


def test_train__interrupted_while_it_reads__leaves_with_one_line_and_writes_nothing(place):
    pipe, source = place.root / "pipe", place.root / "own.py"
    os.mkfifo(pipe)
    source.write_text(f"def read(options):\n    open({str(pipe)!r}).read()\n")
    process = launch(place.train(data=f"{source}:read"))
    with pipe.open("w"):  # returns when the source opens it to read
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=1500)
    assert process.returncode == 130
    assert re.fullmatch(r"auxo: expected the command to end, got signal 2: .+\n", errors)
    assert not place.out.exists()
