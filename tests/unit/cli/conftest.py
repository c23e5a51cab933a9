"""Images with further columns, a run that was trained without them, and one that can be verified in pieces."""

import csv
import shutil

import pytest


@pytest.fixture(scope="session")
def grounds_list(shapes_folder, tmp_path_factory):
    """A CSV of the images with a ground that mostly goes with the class, and the day of each."""
    files = sorted(shapes_folder.rglob("*.png"), key=lambda file: file.name)
    names = sorted({file.parent.name for file in files})
    rows = []
    for number, file in enumerate(files):
        is_odd = (names.index(file.parent.name) + (number // 4 % 4 == 0)) % 2
        rows.append([str(file), file.parent.name, "land" if is_odd else "sea", number])
    path = tmp_path_factory.mktemp("list") / "list.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "ground", "day"], *rows])
    return path


@pytest.fixture(scope="session")
def grounds_run(grounds_list, tiny_options, tmp_path_factory):
    """A run of one epoch on them that was trained without these columns."""
    from auxo.cli import main

    out = tmp_path_factory.mktemp("runs") / "run"
    data = ("--data.train", str(grounds_list), "--data.test-fraction", "0.5")
    with pytest.raises(SystemExit) as stop:
        main(["train", "supervised", *data, *tiny_options, "--out", str(out)])
    assert stop.value.code == 0
    return out


@pytest.fixture(scope="session")
def make_checkable(shapes_folder, tmp_path_factory):
    """Make a run under a seed, of four epochs, each of whose checkpoints stays."""
    from auxo.cli import main

    often = ("--training.no-tensorboard", "--training.log-every", "3", "--training.keep-every", "1")
    options = ("--epochs", "4", "--batch-size", "32", "--selection.keep", "best", "--data.augment", "crop_flip")

    def make(seed, *more):
        out = tmp_path_factory.mktemp("checkable") / "run"
        words = ["train", "supervised", "--data.train", shapes_folder, *options, *often, "--runtime.threads", "1"]
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in (*words, "--seed", seed, *more, "--out", out)])
        assert stop.value.code == 0
        return out

    return make


@pytest.fixture(scope="session")
def checkable(make_checkable):
    """That run under seed 0, which stays as it is."""
    return make_checkable(0)


@pytest.fixture
def tampered(checkable, tmp_path):
    """A copy of it to be changed."""
    return shutil.copytree(checkable, tmp_path / "run")
