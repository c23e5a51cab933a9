"""Commands that die at any of their file operations: the same command again comes to what it would have come to."""

import json
import shutil

import pytest

from .disk import DIED, KINDS, Disk, run_in_child

TIMES = {"images_per_second", "train_seconds", "wall_seconds"}


def run(words):
    """Run a command in this process; return its exit code."""
    from auxo.cli import main

    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


@pytest.fixture(autouse=True)
def runs_here(here, monkeypatch):
    """Runs of a comparison or sweep are made in this process, so that their operations count and can be the last."""
    from auxo.cli.executor import ExecutorOptions

    monkeypatch.setattr(ExecutorOptions, "build", lambda _self: here)


class Command:
    """A command whose end is known.

    Args:
        words: of the command, in the folder it works in.
        result: what it comes to, of that folder.
        begin: makes what is there before it.
        refuses_whole: whether it does not write what is there already, as an export, which appears whole or not at all.
    """

    def __init__(self, words, result, begin=lambda root: None, *, refuses_whole=False):
        self.words, self.result, self.begin, self.refuses_whole = words, result, begin, refuses_whole

    def start(self, root):
        """Make a new folder for it."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        self.begin(root)

    def die(self, root, number, kind):
        """Let it die at an operation, and give it again."""
        self.start(root)
        code = run_in_child(lambda: run(self.words(root)), Disk(root, number, kind), root.parent / "names")
        if code != DIED:
            assert code == 0
            return False
        is_there = self.refuses_whole and (root / "made").exists()
        assert run(self.words(root)) == (2 if is_there else 0), f"{kind} at {number}"
        return True


def rows_of(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def results_of(folder):
    """Models and rows of all runs in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.suffix == ".safetensors" else rows_of(path)
        for path in sorted(folder.glob("*/*"))
        if path.name in ("model.safetensors", "records.jsonl")
    }


@pytest.fixture
def commands(finished_run, shapes_folder):
    def copy_run(root):
        shutil.copytree(finished_run, root / "run")

    tiny = ["--data.train", shapes_folder, "--training.no-tensorboard", "--runtime.threads", 1]
    grid = ["compare", *tiny, "--methods", "supervised", "--seeds", 2, "--epochs", 1, "--budget", "recipe"]
    sweep = ["sweep", "supervised", *tiny, "--epochs", 1, "--search", "method.optimizer.lr=choice:0.01,0.02"]
    return {
        "export": Command(
            lambda root: ["export", root / "run", "--format", "safetensors", "--out", root / "made"],
            lambda root: {path.name: path.read_bytes() for path in (root / "made").iterdir()},
            copy_run,
            refuses_whole=True,
        ),
        "evaluate": Command(
            lambda root: ["evaluate", root / "run"], lambda root: rows_of(root / "run" / "evaluation.jsonl"), copy_run
        ),
        "compare": Command(lambda root: [*grid, "--out", root / "grid"], lambda root: results_of(root / "grid")),
        "sweep": Command(
            lambda root: [*sweep, "--sampler", "grid", "--out", root / "sweep"],
            lambda root: results_of(root / "sweep"),
        ),
    }


def prepare(command, tmp_path):
    """Return what a command comes to, and the number of its operations."""
    root = tmp_path / "root"
    command.start(root)
    names = tmp_path / "names"
    assert run_in_child(lambda: run(command.words(root)), Disk(root), names) == 0
    return command.result(root), names.read_text().splitlines()


def check(command, tmp_path, places):
    """Let a command die at some operations, each in one of the ways."""
    whole, names = prepare(command, tmp_path)
    for number in places(len(names)):
        for kind in KINDS if number % 2 else KINDS[::-1]:
            if kind == "half" and not names[number].startswith("write"):
                continue
            assert command.die(tmp_path / "root", number, kind), names[number]
            assert command.result(tmp_path / "root") == whole, f"{kind} at {number}, {names[number]}"
            left = [path.name for path in (tmp_path / "root").rglob("*") if path.name.endswith(".part")]
            assert not left, f"{kind} at {number}, {names[number]}"


@pytest.mark.parametrize("name", ["export", "evaluate"])
def test_command__death_at_one_file_operation__is_made_good_by_the_same_command(commands, tmp_path, name):
    check(commands[name], tmp_path, lambda count: [count // 2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["export", "evaluate", "compare", "sweep"])
def test_command__death_at_any_file_operation__is_made_good_by_the_same_command(commands, tmp_path, name):
    check(commands[name], tmp_path, range)
