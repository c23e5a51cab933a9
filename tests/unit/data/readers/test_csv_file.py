from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.readers import read_source
from auxo.data.sources import InMemorySource
from auxo.errors import DataError

Rows = list[list[str]]


@pytest.fixture
def rows(tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path]) -> Rows:
    """Header and one row per image below the test's folder, labels as names."""
    root = write_folder(shapes, tmp_path / "photos")
    files = sorted(root.rglob("*.png"), key=lambda file: file.name)
    return [["path", "label"], *([str(file.relative_to(tmp_path)), file.parent.name] for file in files)]


def test_read_csv__names__are_sorted_and_images_in_order(
    tmp_path: Path, shapes: InMemorySource, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    source = read_source(str(write_csv(rows, tmp_path / "set.csv")), DataConfig())
    assert source.name == "set"
    assert source.vocabulary["label"] == tuple(sorted(shapes.vocabulary["label"]))
    assert torch.equal(source.fetch(torch.arange(40)), shapes.images)
    assert source.describe(2) == f"{tmp_path / rows[3][0]} (line 4 of {tmp_path / 'set.csv'})"


def test_read_csv__numbers__are_class_numbers(
    tmp_path: Path, shapes: InMemorySource, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    numbered = [rows[0], *([path, str(i % 4)] for i, (path, _) in enumerate(rows[1:]))]
    path = write_csv(numbered, tmp_path / "set.csv")
    source = read_source(str(path), DataConfig())
    assert source.vocabulary["label"] == ("0", "1", "2", "3")
    assert torch.equal(source.columns["label"].values, shapes.columns["label"].values)
    named = read_source(str(path), DataConfig(), vocabulary={"label": tuple("abcde")})
    assert named.vocabulary["label"] == tuple("abcde")
    with pytest.raises(DataError, match=r"values of 'label' in 0\.\.2, got 3 at .*line 5 of"):
        read_source(str(path), DataConfig(), vocabulary={"label": tuple("abc")})


@pytest.mark.parametrize("label", ["-1", "99999999999999999999"])
def test_read_csv__number_out_of_range__names_the_row(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path], label: str
) -> None:
    numbered = [rows[0], *([path, str(i % 4)] for i, (path, _) in enumerate(rows[1:]))]
    numbered[6][1] = label
    with pytest.raises(DataError, match=rf"got {label} at .*line 7 of .*set\.csv"):
        read_source(str(write_csv(numbered, tmp_path / "set.csv")), DataConfig())


def test_read_csv__other_columns_and_whole_paths__are_read(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    moved = [["kind", "by", "file"], *([label, "me", str(tmp_path / path)] for path, label in rows[1:])]
    (tmp_path / "lists").mkdir()
    path = write_csv(moved, tmp_path / "lists" / "set.csv")
    assert len(read_source(str(path), DataConfig(path_column="file", label_column="kind"))) == 40


@pytest.mark.parametrize(("column", "option"), [("path", "path-column"), ("label", "label-column")])
def test_read_csv__missing_column__lists_those_there(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path], column: str, option: str
) -> None:
    rows[0][rows[0].index(column)] = "other"
    message = rf"a column '{column}', got the columns {', '.join(rows[0])} in .*: name it with --data\.{option}"
    with pytest.raises(DataError, match=message):
        read_source(str(write_csv(rows, tmp_path / "set.csv")), DataConfig())


def test_read_csv__missing_image__names_the_line(tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]) -> None:
    rows[5][0] = "photos/none.png"
    with pytest.raises(DataError, match=r"'photos/none\.png' in line 6 of .*set\.csv"):
        read_source(str(write_csv(rows, tmp_path / "set.csv")), DataConfig())


def test_read_csv__empty_path__names_the_line(tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]) -> None:
    rows[3] = ["", "tee"]
    path = write_csv(rows, tmp_path / "set.csv")
    for unknown in ("refuse", "ignore"):
        with pytest.raises(DataError, match=r"a path in every row, got an empty path in line 4 of .*set\.csv"):
            read_source(str(path), DataConfig(unknown=unknown))


def test_read_csv__empty_label__names_the_line_or_is_left_out(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    rows[3][1] = " "
    path = write_csv(rows, tmp_path / "set.csv")
    with pytest.raises(
        DataError, match=r"a value of 'label' for every image, got none for .*002\.png \(line 4 of .*set\.csv\)"
    ):
        read_source(str(path), DataConfig())
    source = read_source(str(path), DataConfig(unknown="ignore"))
    assert source.notes == ("left out 1 of 40 images of 'set': 1 without a value of 'label'",)
    assert source.describe(2).startswith(str(tmp_path / rows[4][0]))
    assert source.columns["label"].values.bincount().tolist() == [10, 10, 9, 10]


def test_read_csv__numbers_and_an_empty_label__stay_class_numbers(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    numbered = [rows[0], *([path, str(i % 4)] for i, (path, _) in enumerate(rows[1:]))]
    numbered[1][1] = ""
    source = read_source(str(write_csv(numbered, tmp_path / "set.csv")), DataConfig(unknown="ignore"))
    assert source.vocabulary["label"] == ("0", "1", "2", "3")
    assert source.columns["label"].values.tolist() == [i % 4 for i in range(1, 40)]


def test_read_csv__number_beyond_trains__is_left_out_of_other_sets_only(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    numbered = [rows[0], *([path, str(i % 4)] for i, (path, _) in enumerate(rows[1:]))]
    path = write_csv(numbered, tmp_path / "set.csv")
    source = read_source(str(path), DataConfig(unknown="ignore"), vocabulary={"label": tuple("abc")})
    assert source.notes == ("left out 10 of 40 images of 'set': 10 with a value of 'label' that train does not have",)
    numbered[1][1] = "-1"
    write_csv(numbered, tmp_path / "set.csv")
    with pytest.raises(DataError, match=r"values of 'label' in 0\.\.3, got -1 at"):
        read_source(str(path), DataConfig(unknown="ignore"))


def test_read_csv__short_row__is_an_empty_cell(tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]) -> None:
    rows[3] = rows[3][:1]
    with pytest.raises(DataError, match=r"a value of 'label' for every image, got none for .*line 4 of"):
        read_source(str(write_csv(rows, tmp_path / "set.csv")), DataConfig())


def test_read_csv__no_rows__is_refused(tmp_path: Path, write_csv: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="rows below the header, got none"):
        read_source(str(write_csv([["path", "label"]], tmp_path / "set.csv")), DataConfig())


@pytest.mark.parametrize("content", [b"", b"path,label\n\xff\xfe\x00,cat\n"])
def test_read_csv__empty_or_not_utf8__is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "set.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"set\.csv") as caught:
        read_source(str(tmp_path / "set.csv"), DataConfig())
    assert "\n" not in str(caught.value)


def test_read_csv__column_as_written__keeps_leading_zeros_and_strips_spaces(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    patients = [[*rows[0], "patient"], *([*row, f" {i % 12:03d} "] for i, row in enumerate(rows[1:]))]
    source = read_source(str(write_csv(patients, tmp_path / "set.csv")), DataConfig(columns=("patient",)))
    assert source.columns["patient"].names == tuple(f"{i:03d}" for i in range(12))
    assert source.columns["patient"].values.tolist() == [i % 12 for i in range(40)]
