import os
from pathlib import Path

import pytest

from auxo.data.csv_table import open_table
from auxo.errors import DataError


def read(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    path.write_text(text, encoding="utf-8")
    with open_table(path) as table:
        return [tuple(row) for row in table.rows]


def test_open_table__rows__have_lines_and_stripped_cells(tmp_path: Path) -> None:
    rows = read(tmp_path / "a.csv", '\npath , label\na.png, "Shih-Tzu, toy"\n\nb.png,\n')
    assert rows == [(3, {"path": "a.png", "label": "Shih-Tzu, toy"}), (5, {"path": "b.png", "label": ""})]


@pytest.mark.parametrize(("row", "count"), [("a.png,Shih-Tzu, toy", 3), ("a.png", 1), ("a.png,cat,", 3)])
def test_open_table__more_or_fewer_cells__names_the_line(tmp_path: Path, row: str, count: int) -> None:
    message = rf"2 cells in every row, as in the header, got {count} in line 3 of .*a\.csv: put a cell that has a comma"
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.csv", f"path,label\nb.png,cat\n{row}\n")


@pytest.mark.parametrize("header", ["path,label,label", "path, label,label ", "label,path,caf\u00e9,cafe\u0301"])
def test_open_table__a_column_twice__is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"every column once in .*a\.csv, got '(label|caf\u00e9)' twice"):
        read(tmp_path / "a.csv", f"{header}\n")


def test_open_table__quote_that_never_ends__is_refused_and_swallows_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a CSV in UTF-8, got .*a\.csv \(unexpected end of data\)"):
        read(tmp_path / "a.csv", 'path,label\na.png,"cat\nb.png,dog\n')


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_open_table__named_pipe__is_refused_unopened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with (
        pytest.raises(DataError, match=r"a CSV in UTF-8, got .*a\.csv, no regular file"),
        open_table(tmp_path / "a.csv"),
    ):
        pass
