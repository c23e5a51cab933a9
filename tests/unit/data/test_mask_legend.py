"""What the values of masks stand for, and what is said where a value stands for nothing."""

from pathlib import Path

import numpy as np
import pytest

from auxo.data.mask_legend import MaskEntry, MaskLegend, number_names, read_legend
from auxo.errors import DataError

ROAD, CAR, SKY = (128, 64, 128), (0, 0, 142), (70, 130, 180)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def make(*entries: MaskEntry, ignore_index: int | None = 255, **options: object) -> MaskLegend:
    return MaskLegend.of_entries(entries, ignore_index=ignore_index, origin="classes.csv", **options)


def test_number_indices__values__become_classes_in_the_order_of_the_table() -> None:
    legend = make(MaskEntry("car", 26), MaskEntry("road", 7), MaskEntry("void", 0, is_ignored=True))
    found = legend.number_indices(np.array([[7, 26, 0, 255]], dtype=np.uint16), where="a.png")
    assert legend.names == ("car", "road")
    assert found.tolist() == [[1, 0, 255, 255]]
    assert found.dtype == np.uint8


def test_number_indices__two_rows_of_one_name__are_one_class() -> None:
    legend = make(MaskEntry("vehicle", 1), MaskEntry("road", 2), MaskEntry("vehicle", 3))
    assert legend.number_indices(np.array([[1, 2, 3]]), where="a.png").tolist() == [[0, 1, 0]]


def test_number_indices__unknown_value__is_told_with_its_pixels() -> None:
    legend = make(MaskEntry("car", 1), MaskEntry("road", 2))
    with pytest.raises(DataError) as caught:
        legend.number_indices(np.array([[1, 7, 7, 300, -4]]), where="masks/a.png")
    message = str(caught.value)
    assert "values of masks among 1, 2, 255 (from classes.csv)" in message
    assert "got 7 in 2 pixels of masks/a.png, and 2 other values" in message
    assert "ignored yes" in message
    assert "\n" not in message


def test_number_colours__colours__become_classes() -> None:
    legend = make(MaskEntry("road", None, ROAD), MaskEntry("car", None, CAR), MaskEntry("void", None, (0, 0, 0), True))
    pixels = np.array([[ROAD, CAR, (0, 0, 0)]], dtype=np.uint8)
    assert legend.number_colours(pixels, where="a.png").tolist() == [[0, 1, 255]]
    assert legend.colours == (ROAD, CAR)
    with pytest.raises(DataError, match=r"colours of masks among #804080, #00008e, #000000 .* got #010203 in 1 pixels"):
        legend.number_colours(np.array([[(1, 2, 3)]], dtype=np.uint8), where="a.png")


def test_colours__one_class_without__are_none() -> None:
    assert make(MaskEntry("road", 0, ROAD), MaskEntry("car", 1)).colours == ()


def test_of_entries__names_of_train__number_the_classes() -> None:
    entries = (MaskEntry("sky", 0), MaskEntry("road", 1), MaskEntry("boat", 2))
    legend = MaskLegend.of_entries(entries, ignore_index=255, origin="val", names=("road", "car", "sky"))
    assert legend.names == ("road", "car", "sky")
    assert legend.number_indices(np.array([[0, 1]]), where="a.png").tolist() == [[2, 0]]
    with pytest.raises(DataError, match="got 2 in 1 pixels"):
        legend.number_indices(np.array([[2]]), where="a.png")


def test_of_entries__names_of_numbers__are_matched_by_them_whatever_their_order() -> None:
    legend = make(MaskEntry("1", 5), MaskEntry("0", 7), names=("0", "01"))
    assert legend.names == ("0", "01")
    assert legend.number_indices(np.array([[5, 7]]), where="a.png").tolist() == [[1, 0]]


def test_of_entries__two_forms_of_one_letter__are_one_name() -> None:
    legend = make(MaskEntry("caf\u00e9", 0), MaskEntry("bar", 1), names=("bar", "cafe\u0301"))
    assert legend.number_indices(np.array([[0, 1]]), where="a.png").tolist() == [[1, 0]]


def test_of_entries__no_name_in_common__is_refused() -> None:
    entries = (MaskEntry("sky", 0), MaskEntry("road", 1))
    with pytest.raises(DataError, match=r"classes of train \(cat, dog\), got sky, road in val"):
        MaskLegend.of_entries(entries, ignore_index=255, origin="val", names=("cat", "dog"))


@pytest.mark.parametrize(
    ("entries", "ignore_index", "said"),
    [
        ([MaskEntry("a", 0)], 255, "2 to 255 classes in t, got 1"),
        ([MaskEntry(str(i), i) for i in range(256)], None, "2 to 255 classes in t, got 256"),
        ([MaskEntry("a", 0), MaskEntry("b", 0)], 255, "one class for every value in t, got two for 0"),
        ([MaskEntry("a", None, ROAD), MaskEntry("b", None, ROAD)], 255, "got two for #804080"),
        ([MaskEntry("a", 0), MaskEntry("b", 255)], 255, "one meaning of the mask value 255, got 'b' in t"),
    ],
    ids=["one class", "too many", "one value twice", "one colour twice", "ignored and named"],
)
def test_of_entries__bad_table__is_told(entries: list[MaskEntry], ignore_index: int | None, said: str) -> None:
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        MaskLegend.of_entries(entries, ignore_index=ignore_index, origin="t")


def test_of_entries__ignore_index_of_a_named_class__ignores_it() -> None:
    legend = make(MaskEntry("sky", 0), MaskEntry("road", 1), MaskEntry("unlabelled", 11), ignore_index=11)
    assert legend.names == ("sky", "road")
    assert legend.number_indices(np.array([[11, 1]]), where="a.png").tolist() == [[255, 1]]


def test_of_entries__no_ignored_value__takes_255_for_a_class() -> None:
    legend = make(MaskEntry("ground", 0), MaskEntry("cell", 255), ignore_index=None)
    assert legend.number_indices(np.array([[0, 255]]), where="a.png").tolist() == [[0, 1]]


def test_of_entries__no_ignored_value__keeps_classes_of_a_colour_alone() -> None:
    legend = make(MaskEntry("ground", 0), MaskEntry("cell", colour=CAR), ignore_index=None)
    assert legend.names == ("ground", "cell")


def test_number_names__whole_numbers__are_their_own_values() -> None:
    legend = number_names(("3", "10"), ignore_index=255, origin="train")
    assert legend is not None
    assert legend.number_indices(np.array([[10, 3]]), where="a.png").tolist() == [[1, 0]]
    assert number_names(("3", "sky"), ignore_index=255, origin="train") is None


def test_read_legend__every_column__is_read(tmp_path: Path) -> None:
    table = write(
        tmp_path / "classes.csv", "Name, index, color, ignored", "road,7,#804080,", "void,,000000,yes", "car,26,,no"
    )
    assert read_legend(table) == [
        MaskEntry("road", 7, ROAD),
        MaskEntry("void", None, (0, 0, 0), True),
        MaskEntry("car", 26),
    ]


def test_read_legend__names_alone__are_numbered_from_0(tmp_path: Path) -> None:
    table = write(tmp_path / "classes.csv", "name", "road", "car")
    assert read_legend(table) == [MaskEntry("road", 0), MaskEntry("car", 1)]
    assert read_legend(write(table, "name", "0", "1")) == [MaskEntry("0", 0), MaskEntry("1", 1)]


@pytest.mark.parametrize("header", ["name, r, g, b", "name,red,green,blue"])
def test_read_legend__three_columns__are_a_colour(tmp_path: Path, header: str) -> None:
    table = write(tmp_path / "class_dict.csv", header, "road, 128, 64, 128", "car,0,0,142")
    assert read_legend(table) == [MaskEntry("road", None, ROAD), MaskEntry("car", None, CAR)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["title,index", "a,0"], "the columns name, index, colour, ignored, of which name must be there, got title"),
        (["name,index,note", "a,0,x"], "got name, index, note in"),
        (["name,index", ",0"], "a name in every row, got an empty one in line 2"),
        (["name,index,colour", "a,,"], "an index or a colour in every row, got neither in line 2"),
        (["name,index", "a,0", "b,x"], "an index of 0..65535 in every row, got 'x' in line 3"),
        (["name,index", "a,70000"], "got '70000' in line 2"),
        (["name,colour", "a,red"], "a colour as #rrggbb in every row, got 'red' in line 2"),
        (["name,r,g,b", "a,0,300,0"], "red, green and blue of 0..255 in every row, got 0, 300, 0 in line 2"),
        (["name,r,g", "a,0,0"], "got name, red, green in"),
        (["name,index", "a,0", "b"], "2 cells in every row, as in the header, got 1 in line 3"),
        (["name,index", "a,0", "b,1,#804080"], "2 cells in every row, as in the header, got 3 in line 3"),
        (["name,index,index", "a,0,1"], "every column once in .*, got 'index' twice"),
        (["name,color,Colour", "a,#804080,#000000"], "every column once in .*, got 'colour' twice"),
        (["name,index", f"a,{'9' * 5000}"], "an index of 0..65535 in every row"),
        (["name", "1", "2", "3"], "colour for classes that are called by numbers, got the class 1 in row 0 of .*index"),
        (["name,index,ignored", "a,0,perhaps"], "yes or no for ignored in every row, got 'perhaps' in line 2"),
    ],
)
def test_read_legend__bad_cell__is_named(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_legend(write(tmp_path / "classes.csv", *lines))


def test_read_legend__no_file__is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a table of classes: a CSV in UTF-8, got .*none.csv \(No such file"):
        read_legend(tmp_path / "none.csv")
