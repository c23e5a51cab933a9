"""A training run that dies at any of its file operations goes on to the same bytes, and no row is lost."""

import shutil
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .deaths import Command, check_every_death, keep_deaths, prepare, rows_of, run
from .disk import KINDS

SAMPLED = range(3, 10_000, 43)


def result_of(folder):
    """What a run comes to: its model, its rows without times, the points of its curves, and what it exhibits."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    points = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "train/images_per_second"
    }
    shown = {str(path): path.read_bytes() for path in sorted((folder / "exhibits").rglob("*.*"))}
    return (folder / "model.safetensors").read_bytes(), rows_of(folder / "records.jsonl"), points, shown


def make_command(recipe, images, *options):
    """Return a small run, which is gone on with where it can be."""
    common = ["--training.log-every", 1, "--training.checkpoint-every", 1, "--runtime.threads", 1]

    def act(root):
        return run(["train", recipe, "--data.train", images, *common, *options, "--out", root / "run"])

    def again(root):
        return run(["train", "--resume", root / "run"]) if (root / "run" / "config.json").exists() else act(root)

    return Command(act, lambda root: result_of(root / "run"), again=again)


def make_short_run(images):
    """Return a run of six steps, of whose evaluations the best is kept."""
    return make_command("supervised", images, "--epochs", 2, "--batch-size", 8, "--selection.keep", "best")


@pytest.fixture(scope="module")
def kept(small_images, tmp_path_factory):
    """A run, and what deaths at some of its operations leave."""
    command, place = make_short_run(small_images), tmp_path_factory.mktemp("kept")
    prepare(command, place / "root")
    return keep_deaths(command, place, numbers=SAMPLED.__contains__)


def test_run__no_death__does_what_the_deaths_are_chosen_from(kept):
    done = [(operation.name, operation.place) for operation in kept.operations]
    assert {"mkdir", "open", "write", "fsync", "replace", "unlink"} <= {name for name, _ in done}
    assert done.index(("replace", "run/config.json")) < done.index(("mkdir", "run/checkpoints"))
    changes = [each for each in done if each[0] in ("write", "replace") and "tensorboard" not in each[1]]
    assert changes[-1] == ("write", "run/records.jsonl")  # the row that says that it is finished


@pytest.mark.parametrize("kind", KINDS)
def test_run__death_at_some_file_operations__goes_on_to_the_same_end(kept, kind):
    deaths = [death for death in kept.deaths if death.kind == kind]
    assert deaths
    for death in deaths:
        kept.die(death)
        assert not kept.go_on(death)


@pytest.mark.slow
def test_run__death_at_any_file_operation__goes_on_to_the_same_end(small_images, tmp_path):
    check_every_death(make_short_run(small_images), tmp_path)


@pytest.mark.slow
def test_run_of_two_stages__death_at_any_file_operation__goes_on_to_the_same_end(small_images, tmp_path):
    stages = [f"--{stage}.{option}" for stage in ("invent", "learn") for option in ("epochs=1", "batch-size=8")]
    check_every_death(make_command("auxo.recipes.maxl:relabelled", small_images, *stages), tmp_path)


@pytest.mark.slow
def test_run_that_goes_on__death_at_any_file_operation__goes_on_to_the_same_end(small_images, tmp_path):
    command = make_short_run(small_images)
    prepare(command, tmp_path / "root")
    early = keep_deaths(command, tmp_path)
    middle = early.deaths[len(early.deaths) // 2]

    def begin(root):
        shutil.copytree(early.store / middle.state, root, symlinks=True, dirs_exist_ok=True)

    (tmp_path / "second").mkdir()
    check_every_death(replace(command, act=command.again, begin=begin), tmp_path / "second")
