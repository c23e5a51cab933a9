"""Commands that die at any of their file operations: the same command again comes to what it would have come to."""

import shutil

import pytest

from .deaths import Command, check_every_death, keep_deaths, prepare, rows_of, run


@pytest.fixture(autouse=True)
def runs_here(here, monkeypatch):
    """Runs of a comparison or sweep are made in this process, so that their operations count and can be the last."""
    from auxo.cli.executor import ExecutorOptions

    monkeypatch.setattr(ExecutorOptions, "build", lambda _self: here)


def results_of(folder):
    """Models and rows of all runs in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.suffix == ".safetensors" else rows_of(path)
        for path in sorted(folder.glob("*/*"))
        if path.name in ("model.safetensors", "records.jsonl")
    }


@pytest.fixture
def commands(finished_run, small_images):
    def copy_run(root):
        shutil.copytree(finished_run, root / "run")

    def copy_evaluated(root):
        copy_run(root)
        (root / "run" / "evaluation.jsonl").write_text("earlier")

    tiny = ["--data.train", small_images, "--training.no-tensorboard", "--runtime.threads", 1]
    grid = ["compare", *tiny, "--methods", "supervised", "--seeds", 2, "--epochs", 1, "--budget", "recipe"]
    sweep = ["sweep", "supervised", *tiny, "--epochs", 1, "--search", "method.optimizer.lr=choice:0.01,0.02"]
    sweep += ["--sampler", "grid"]
    export = ["--format", "safetensors", "--out"]
    return {
        "export": Command(
            lambda root: run(["export", root / "run", *export, root / "made"]),
            lambda root: {path.name: path.read_bytes() for path in (root / "made").iterdir()},
            copy_run,
            refuses_whole="made",
        ),
        "evaluate": Command(
            lambda root: run(["evaluate", root / "run"]),
            lambda root: (
                rows_of(root / "run" / "evaluation.jsonl"),
                (root / "run" / "evaluation-1.jsonl").read_text(),
            ),
            copy_evaluated,
            more=frozenset({"run/evaluation-2.jsonl"}),
        ),
        "compare": Command(lambda root: run([*grid, "--out", root / "grid"]), lambda root: results_of(root / "grid")),
        "sweep": Command(lambda root: run([*sweep, "--out", root / "sweep"]), lambda root: results_of(root / "sweep")),
    }


@pytest.mark.parametrize("name", ["export", "evaluate"])
def test_command__death_at_one_file_operation__is_made_good_by_the_same_command(commands, tmp_path, name):
    prepare(commands[name], tmp_path / "root")
    kept = keep_deaths(commands[name], tmp_path, numbers={5}.__contains__)
    for death in kept.deaths:
        kept.die(death)
        assert not kept.go_on(death)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["export", "evaluate", "compare", "sweep"])
def test_command__death_at_any_file_operation__is_made_good_by_the_same_command(commands, tmp_path, name):
    check_every_death(commands[name], tmp_path)
