"""A training run that dies at any of its file operations goes on to the same bytes, and no row is lost."""

import json
import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .disk import DIED, KINDS, Disk, run_in_child

TIMES = {"images_per_second", "train_seconds"}


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


def words_of(images, out):
    options = ["--epochs", 2, "--batch-size", 8, "--training.log-every", 1, "--training.checkpoint-every", 1]
    options += ["--selection.keep", "best", "--runtime.threads", 1]
    return ["train", "supervised", "--data.train", images, *options, "--out", out]


def run(words):
    from auxo.cli import main

    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return int(stop.value.code or 0)


def result_of(folder):
    """What a run comes to: the bytes of its model, its rows without times, and the points of its curves."""
    rows = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    points = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag != "train/images_per_second"
    }
    return (folder / "model.safetensors").read_bytes(), kept, points


@pytest.fixture(scope="module")
def whole(small_images, tmp_path_factory):
    """What the run comes to that nothing happens to, and its file operations."""
    root = tmp_path_factory.mktemp("whole")
    assert run_in_child(lambda: run(words_of(small_images, root / "run")), Disk(root), root / "names") == 0
    return result_of(root / "run"), (root / "names").read_text().splitlines()


def check_death(images, root, whole, number, kind):
    """Let a run die and the same command, or its continuation, come to the same end."""
    out = root / "run"
    died = run_in_child(lambda: run(words_of(images, out)), Disk(root, number, kind), root.parent / "names")
    assert died == DIED, f"operation {number} of {len(whole[1])} was not reached"
    place = f"{kind} at {number}, {whole[1][number]}"
    can_resume = (out / "config.json").exists()
    assert run(["train", "--resume", out] if can_resume else words_of(images, out)) == 0, place
    assert result_of(out) == whole[0], place
    left = [path for path in root.rglob("*") if path.name.endswith(".part")]
    assert not left, place
    shutil.rmtree(out)


def test_run__no_death__does_what_the_deaths_are_chosen_from(whole):
    operations = whole[1]
    assert {"mkdir", "open", "write", "fsync", "replace", "unlink"} <= {line.split()[0] for line in operations}
    assert operations.index("replace run/config.json") < operations.index("mkdir run/checkpoints")


@pytest.mark.parametrize("kind", KINDS)
def test_run__death_at_some_file_operations__goes_on_to_the_same_end(whole, small_images, tmp_path, kind):
    root = tmp_path / "root"
    root.mkdir()
    places = range(KINDS.index(kind), len(whole[1]), len(whole[1]) // 2 + 1)
    for number in places:
        check_death(small_images, root, whole, number, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_run__death_at_any_file_operation__goes_on_to_the_same_end(whole, small_images, tmp_path, kind):
    root = tmp_path / "root"
    root.mkdir()
    for number, name in enumerate(whole[1]):
        if kind != "half" or name.startswith("write"):
            check_death(small_images, root, whole, number, kind)
