"""Exhibits of methods as files."""

import pytest
import torch

from auxo.errors import CheckpointError, ConfigError
from auxo.interfaces import CurveExhibit, ImageExhibit, TableExhibit, TextExhibit
from auxo.runs.exhibits import read_exhibits, write_exhibits

IMAGES = torch.arange(5 * 3 * 2 * 4, dtype=torch.uint8).view(5, 3, 2, 4)
SHOWN = (
    ImageExhibit("Some images", IMAGES, ("a", "b", "c", "d", "e"), columns=2),
    CurveExhibit("A curve", "epoch", "loss", {"train": [(0, 1.5), (1, 0.5)]}),
    TableExhibit("A table", ("name", "count"), [("x, y", 1), ("z", 2)]),
    TextExhibit("Some words", "First.\n\nSecond."),
)


def test_exhibits__written_and_read__come_back(tmp_path):
    write_exhibits(tmp_path, "main", SHOWN)
    found = read_exhibits(tmp_path, ["other", "main"])
    assert [each.stage for each in found] == ["main"] * 4
    images, curve, table, text = (each.exhibit for each in found)
    assert torch.equal(images.images, IMAGES)
    assert (images.captions, images.columns) == (("a", "b", "c", "d", "e"), 2)
    assert curve == SHOWN[1]
    assert (table.columns, table.rows) == (("name", "count"), [("x, y", "1"), ("z", "2")])
    assert text == SHOWN[3]
    assert [each.path.name for each in found] == [
        "01-some-images.png",
        "02-a-curve.json",
        "03-a-table.csv",
        "04-some-words.txt",
    ]


def test_write_exhibits__again__replaces_what_was_there(tmp_path):
    write_exhibits(tmp_path, "main", SHOWN)
    write_exhibits(tmp_path, "main", SHOWN[3:])
    assert sorted(path.name for path in (tmp_path / "exhibits" / "main").iterdir()) == [
        "01-some-words.txt",
        "index.json",
    ]
    write_exhibits(tmp_path, "main", ())
    assert read_exhibits(tmp_path, ["main"]) == []


@pytest.mark.parametrize(
    ("exhibit", "says"),
    [
        (ImageExhibit("Wrong", IMAGES, ("one",)), "1 captions for 5 images"),
        (ImageExhibit("Wrong", IMAGES[:, :2]), r"uint8 of shape \(5, 2, 2, 4\)"),
        (TableExhibit("Wrong", ("a", "b"), [(1,)]), "rows of 1 cells for 2 columns"),
    ],
)
def test_write_exhibits__parts_that_do_not_fit__are_refused_in_one_line(exhibit, says, tmp_path):
    with pytest.raises(ConfigError, match=f"an exhibit 'Wrong' that holds together, got .*{says}") as caught:
        write_exhibits(tmp_path, "main", [exhibit])
    assert "\n" not in str(caught.value)


def test_read_exhibits__damaged_file__is_named(tmp_path):
    write_exhibits(tmp_path, "main", SHOWN)
    (tmp_path / "exhibits" / "main" / "01-some-images.png").write_bytes(b"no image")
    with pytest.raises(CheckpointError, match=r"an exhibit in .*main, got a damaged one"):
        read_exhibits(tmp_path, ["main"])
