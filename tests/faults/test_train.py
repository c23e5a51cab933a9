"""A training run that dies at any of its file operations goes on to the same bytes, and no row is lost."""

import shutil
from dataclasses import replace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .deaths import Command, check_every_death, keep_deaths, prepare, rows_of, run
from .disk import KINDS

SAMPLED = range(3, 10_000, 43)


@pytest.fixture(scope="module")
def small_images(tmp_path_factory, write_picture):
    """A folder of two classes with twelve images each."""
    from auxo.data.fake import oriented_shapes

    root = tmp_path_factory.mktemp("small")
    source = oriented_shapes(48, size=28, seed=0)
    names, labels = source.vocabulary["label"], source.columns["label"].values
    for number in range(48):
        if int(labels[number]) < 2:
            write_picture(root / names[int(labels[number])] / f"{number:03d}.png", source.images[number])
    return root


def result_of(folder):
    """What a run comes to: the bytes of its model, its rows without times, and the points of its curves."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    points = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "train/images_per_second"
    }
    return (folder / "model.safetensors").read_bytes(), rows_of(folder / "records.jsonl"), points


def make_command(recipe, images):
    """Return a small run of a recipe, gone on with where it can be."""
    options = ["--epochs", 2, "--batch-size", 8, "--training.log-every", 1, "--training.checkpoint-every", 1]
    options += ["--selection.keep", "best", "--runtime.threads", 1]

    def act(root):
        return run(["train", recipe, "--data.train", images, *options, "--out", root / "run"])

    def again(root):
        return run(["train", "--resume", root / "run"]) if (root / "run" / "config.json").exists() else act(root)

    return Command(act, lambda root: result_of(root / "run"), again=again)


@pytest.fixture(scope="module")
def kept(small_images, tmp_path_factory):
    """A run, and what deaths at some of its operations leave."""
    command, place = make_command("supervised", small_images), tmp_path_factory.mktemp("kept")
    prepare(command, place / "root")
    return keep_deaths(command, place, numbers=SAMPLED.__contains__)


def test_run__no_death__does_what_the_deaths_are_chosen_from(kept):
    done = [(operation.name, operation.place) for operation in kept.operations]
    assert {"mkdir", "open", "write", "fsync", "replace", "unlink"} <= {name for name, _ in done}
    assert done.index(("replace", "run/config.json")) < done.index(("mkdir", "run/checkpoints"))


@pytest.mark.parametrize("kind", KINDS)
def test_run__death_at_some_file_operations__goes_on_to_the_same_end(kept, kind):
    deaths = [death for death in kept.deaths if death.kind == kind]
    assert deaths
    for death in deaths:
        kept.die(death)
        assert not kept.go_on(death)


@pytest.mark.slow
def test_run__death_at_any_file_operation__goes_on_to_the_same_end(small_images, tmp_path):
    check_every_death(make_command("supervised", small_images), tmp_path)


@pytest.mark.slow
def test_run_of_two_stages__death_at_any_file_operation__goes_on_to_the_same_end(small_images, tmp_path):
    check_every_death(make_command("auxo.recipes.maxl:relabelled", small_images), tmp_path)


@pytest.mark.slow
def test_run_that_goes_on__death_at_any_file_operation__goes_on_to_the_same_end(small_images, tmp_path):
    command = make_command("supervised", small_images)
    prepare(command, tmp_path / "root")
    early = keep_deaths(command, tmp_path)
    middle = early.deaths[len(early.deaths) // 2]

    def begin(root):
        shutil.copytree(early.store / middle.state, root, symlinks=True, dirs_exist_ok=True)

    (tmp_path / "second").mkdir()
    check_every_death(replace(command, act=command.again, begin=begin), tmp_path / "second")
