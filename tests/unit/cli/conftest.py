"""Images with further columns, and a run that was trained without them."""

import csv

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
