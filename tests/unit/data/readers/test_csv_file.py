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


def test_read_csv__negative_number__names_the_row(tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]) -> None:
    numbered = [rows[0], *([path, str(i % 4)] for i, (path, _) in enumerate(rows[1:]))]
    numbered[6][1] = "-1"
    message = r"values of 'label' of whole numbers from 0 or names, got -1 at .*line 7 of .*set\.csv"
    for unknown in ("refuse", "ignore"):
        with pytest.raises(DataError, match=message):
            read_source(str(write_csv(numbered, tmp_path / "set.csv")), DataConfig(unknown=unknown))


@pytest.mark.parametrize(("first", "step"), [(1, 1), (0, 5), (8, 2)])
def test_read_csv__numbers_from_anywhere__are_names_in_order(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path], first: int, step: int
) -> None:
    numbered = [rows[0], *([path, str(first + step * (i % 4))] for i, (path, _) in enumerate(rows[1:]))]
    column = read_source(str(write_csv(numbered, tmp_path / "set.csv")), DataConfig()).columns["label"]
    assert column.names == tuple(str(first + step * i) for i in range(4))
    assert column.values.tolist() == [i % 4 for i in range(40)]


def test_read_csv__zeros_in_front__stay_where_all_are_written_so(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    numbered = [rows[0], *([path, f"{1 + i % 2:03d}"] for i, (path, _) in enumerate(rows[1:]))]
    assert read_source(str(write_csv(numbered, tmp_path / "set.csv")), DataConfig()).vocabulary["label"] == (
        "001",
        "002",
    )
    numbered[1][1] = "1"
    assert read_source(str(write_csv(numbered, tmp_path / "set.csv")), DataConfig()).vocabulary["label"] == ("1", "2")


@pytest.mark.parametrize("names", [("1", "2", "3", "4"), ("4", "2", "1", "3"), ("01", "02", "03", "04")])
def test_read_csv__classes_called_by_numbers__are_meant_by_them(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path], names: tuple[str, ...]
) -> None:
    numbered = [rows[0], *([path, str(1 + i % 4)] for i, (path, _) in enumerate(rows[1:]))]
    path = write_csv(numbered, tmp_path / "set.csv")
    column = read_source(str(path), DataConfig(), vocabulary={"label": names}).columns["label"]
    assert column.names == names
    assert [int(names[value]) for value in column.values] == [1 + i % 4 for i in range(40)]
    message = r"values of 'label' that train has \(1, 2, 3\), got 4 at .*003\.png \(line 5 of .*: correct it, remove"
    with pytest.raises(DataError, match=message):
        read_source(str(path), DataConfig(), vocabulary={"label": ("1", "2", "3")})


def test_read_csv__several_labels_in_a_cell__are_told_with_their_rows(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    for row in (2, 5, 6, 9):
        rows[row][1] = "tee; arrow"
    source = read_source(str(write_csv(rows, tmp_path / "set.csv")), DataConfig())
    assert "tee; arrow" in source.vocabulary["label"]
    (note,) = source.notes
    assert note.startswith("the labels of 4 images of 'set' may be several in one, as 'tee; arrow': ")
    lines = [f"{tmp_path / rows[row][0]} (line {row + 1} of {tmp_path / 'set.csv'})" for row in (2, 5, 6)]
    assert f": {', '.join(lines)} and 1 more; each is taken for one class of its own" in note


def test_read_csv__other_separator__is_said(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("path;label\na.png;cat\n")
    with pytest.raises(DataError, match=r"a column 'path', got the columns path;label in .*: separate cells by commas"):
        read_source(str(tmp_path / "set.csv"), DataConfig())


def test_read_csv__path_in_another_form_of_a_letter__is_found(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    for row, (on_disk, written) in zip((1, 2), (("e\u0301", "\u00e9"), ("\u00e8", "e\u0300")), strict=True):
        (tmp_path / rows[row][0]).rename(tmp_path / f"{on_disk}.png")
        rows[row][0] = f"{written}.png"
    assert len(read_source(str(write_csv(rows, tmp_path / "set.csv")), DataConfig())) == 40


def test_read_csv__two_forms_of_one_letter__are_one_class_and_one_column(
    tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]
) -> None:
    forms = ("caf\u00e9", "cafe\u0301")
    named = [
        ["path", "label", forms[0]],
        *([path, forms[i % 2], forms[i // 2 % 2]] for i, (path, _) in enumerate(rows[1:])),
    ]
    config = DataConfig(columns=(forms[1],))
    source = read_source(str(write_csv(named, tmp_path / "set.csv")), config)
    assert source.vocabulary["label"] == source.vocabulary[forms[1]] == (forms[0],)
    other = read_source(str(tmp_path / "set.csv"), config, vocabulary={"label": ("bar", forms[1])})
    assert other.columns["label"].values.unique().tolist() == [1]


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
    with pytest.raises(DataError, match=r"whole numbers from 0 or names, got -1 at"):
        read_source(str(path), DataConfig(unknown="ignore"))


def test_read_csv__short_or_long_row__is_refused(tmp_path: Path, rows: Rows, write_csv: Callable[..., Path]) -> None:
    for row in (rows[3][:1], [*rows[3], "toy"]):
        path = write_csv([*rows[:3], row, *rows[4:]], tmp_path / "set.csv")
        for unknown in ("refuse", "ignore"):
            with pytest.raises(DataError, match=r"2 cells in every row, as in the header, got [13] in line 4 of .*set"):
                read_source(str(path), DataConfig(unknown=unknown))


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
