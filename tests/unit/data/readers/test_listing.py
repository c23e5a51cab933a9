from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.readers import read_source, read_unlabelled
from auxo.data.readers.listing import number_names
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.errors import DataError

KINDS = ("csv", "folder", "parquet", "hub")
BOTH = DataConfig(columns=("background", "site"))
Columns = dict[str, list[str | None]]
WriteSet = Callable[[str, InMemorySource, Columns, Path], str]


@pytest.fixture
def columns() -> Columns:
    """Names, and whole numbers whose order is another one as text."""
    backgrounds = ["water", "land", "land"]
    return {"background": [backgrounds[i % 3] for i in range(40)], "site": [str(8 + i % 4 // 2 * 2) for i in range(40)]}


def values_of(source: AbstractSource, name: str) -> dict[str, str]:
    """The name of a column's value by what the file of an image is called; rows of tables count as such names."""
    column = source.columns[name]
    places = [source.describe(i) for i in range(len(source))]
    return {place: column.names[int(value)] for place, value in zip(places, column.values, strict=True)}


def number_of(place: str) -> int:
    """The position that an image had in the source it was written from."""
    return int(place.split()[1]) if place.startswith("row ") else int(place.partition(".png")[0][-3:])


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_read_source__columns__are_numbered_by_sorted_names(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str, storage: str
) -> None:
    spec = write_set(kind, shapes, columns, tmp_path)
    source = read_source(spec, DataConfig(columns=("background", "site"), storage=storage))
    assert set(source.columns) == {"label", "background", "site"}
    assert source.columns["background"].names == ("land", "water")
    assert source.columns["site"].names == ("8", "10")
    assert source.notes == ()
    for name, written in columns.items():
        found = values_of(source, name)
        assert [found[place] for place in sorted(found, key=number_of)] == written
    assert source.fetch_targets(torch.tensor([3]))["site"].dtype == torch.int64


@pytest.mark.parametrize("kind", KINDS)
def test_read_source__not_asked_for__reads_no_further_column(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str
) -> None:
    assert set(read_source(write_set(kind, shapes, columns, tmp_path), DataConfig()).columns) == {"label"}


@pytest.mark.parametrize("kind", KINDS)
def test_read_source__missing_column__lists_those_there(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str
) -> None:
    spec = write_set(kind, shapes, columns, tmp_path)
    with pytest.raises(
        DataError, match=r"a column 'scene', got the columns .*site in .*: name it with --data\.columns"
    ):
        read_source(spec, DataConfig(columns=("site", "scene")))


@pytest.mark.parametrize("kind", KINDS)
def test_read_source__missing_values__are_refused_or_left_out_and_counted(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str
) -> None:
    columns["background"][7] = None
    columns["background"][9] = columns["site"][9] = columns["site"][20] = None
    spec = write_set(kind, shapes, columns, tmp_path)
    message = "a value of 'background' for every image, got none for .*: fill it in, remove the image, or leave such"
    with pytest.raises(DataError, match=message) as caught:
        read_source(spec, BOTH)
    assert str(caught.value).endswith("leave such images out with --data.unknown ignore")
    assert "\n" not in str(caught.value)
    source = read_source(spec, DataConfig(columns=BOTH.columns, unknown="ignore"))
    assert len(source) == 37
    found = values_of(source, "site")
    assert {number_of(place) for place in found} == set(range(40)) - {7, 9, 20}
    assert all(found[place] == columns["site"][number_of(place)] for place in found)
    name = source.name
    counted = "2 without a value of 'background', 1 without a value of 'site'"
    assert source.notes == (f"left out 3 of 40 images of '{name}': {counted}",)
    assert source.subset(torch.arange(5), "part").notes == source.notes
    assert source.without_targets(["label"], "hidden").notes == source.notes
    assert torch.equal(source.without_targets(["label"], "x").columns["site"].values, source.columns["site"].values)


def test_read_source__missing_value__names_the_row(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet
) -> None:
    columns["site"][7] = None
    for kind, place in (
        ("csv", r"wedge/007\.png \(line 9 of .*set\.csv\)"),
        ("folder", r"wedge/007\.png in .*labels\.csv"),
        ("parquet", r"row 7 of .*set\.parquet"),
    ):
        with pytest.raises(DataError, match=rf"a value of 'site' for every image, got none for .*{place}: fill it in"):
            read_source(write_set(kind, shapes, columns, tmp_path / kind), BOTH)


@pytest.mark.parametrize("kind", KINDS)
def test_read_source__other_set__has_names_of_its_own_for_what_groups(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str
) -> None:
    columns["site"] = ["3" if i < 20 else "1" for i in range(40)]
    spec = write_set(kind, shapes, columns, tmp_path)
    source = read_source(
        spec, BOTH, vocabulary={"label": shapes.vocabulary["label"], "background": ("sky", "water", "land")}
    )
    assert source.columns["site"].names == ("1", "3")
    assert source.columns["background"].names == ("sky", "water", "land")
    found = values_of(source, "background")
    assert [found[place] for place in sorted(found, key=number_of)] == columns["background"]


@pytest.mark.parametrize("kind", KINDS)
def test_read_source__unseen_value_of_a_learned_column__is_refused_or_left_out(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str
) -> None:
    columns["background"][11] = "sky"
    spec, vocabulary = write_set(kind, shapes, columns, tmp_path), {"background": ("land", "water")}
    message = (
        r"values of 'background' that train has \(land, water\), got 'sky' at .*11.*: correct it, remove the image"
    )
    with pytest.raises(DataError, match=message):
        read_source(spec, BOTH, vocabulary=vocabulary)
    source = read_source(spec, DataConfig(columns=BOTH.columns, unknown="ignore"), vocabulary=vocabulary)
    assert len(source) == 39
    why = "1 with a value of 'background' that train does not have"
    assert source.notes == (f"left out 1 of 40 images of '{source.name}': {why}",)
    found = values_of(source, "background")
    assert all(found[place] == columns["background"][number_of(place)] for place in found)


@pytest.mark.parametrize("kind", ["csv", "folder", "parquet"])
def test_read_source__unseen_class__is_left_out_too(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str
) -> None:
    spec = write_set(kind, shapes, columns, tmp_path)
    names = tuple(name for name in sorted(shapes.vocabulary["label"]) if name != "tee")
    with pytest.raises(DataError, match=r"values of 'label' that train has .*, got 'tee' at"):
        read_source(spec, BOTH, vocabulary={"label": names})
    source = read_source(spec, DataConfig(columns=("site",), unknown="ignore"), vocabulary={"label": names})
    assert source.vocabulary["label"] == names
    assert source.notes == (
        f"left out 10 of 40 images of '{source.name}': 10 with a value of 'label' that train does not have",
    )
    assert source.columns["label"].values.bincount().tolist() == [10, 10, 10]
    found = values_of(source, "site")
    assert all(found[place] == columns["site"][number_of(place)] for place in found)


def test_read_source__nothing_left__says_why(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet
) -> None:
    spec = write_set("csv", shapes, {"site": [None] * 40}, tmp_path)
    message = r"an image that can be used, got none of 40 in 'set' \(40 without a value of 'site'\)"
    with pytest.raises(DataError, match=message):
        read_source(spec, DataConfig(columns=("site",), unknown="ignore"))


@pytest.mark.parametrize("kind", KINDS)
def test_read_unlabelled__columns__are_read_where_all_are_there_else_hidden(
    tmp_path: Path, shapes: InMemorySource, columns: Columns, write_set: WriteSet, kind: str
) -> None:
    spec = write_set(kind, shapes, columns, tmp_path)
    source = read_unlabelled(spec, BOTH)
    assert source.vocabulary["label"] == ()
    assert source.columns["background"].names == ("land", "water")
    hidden = read_unlabelled(spec, DataConfig(columns=("background", "scene")))
    assert set(hidden.columns) == {"label", "background", "scene"}
    for column in hidden.columns.values():
        assert column.names == ()
        assert column.values.unique().tolist() == [-1]


def test_number_names__whole_numbers__are_sorted_as_numbers() -> None:
    assert number_names(["10", "-1", "9"]).names == ("-1", "9", "10")
    assert number_names(["10", "9", "x"]).names == ("10", "9", "x")
    assert number_names(["10", "9", "10"]).values.tolist() == [1, 0, 1]
