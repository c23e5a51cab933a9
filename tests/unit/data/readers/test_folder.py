from collections.abc import Callable
from pathlib import Path

import pytest

from auxo.data.config import DataConfig
from auxo.data.load import load_splits
from auxo.data.readers import read_source, read_unlabelled
from auxo.data.sources import InMemorySource, pixel_hashes
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError


@pytest.fixture
def root(tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path]) -> Path:
    return write_folder(shapes, tmp_path / "photos")


def test_read_folder__class_folders__gives_sorted_classes(root: Path, shapes: InMemorySource) -> None:
    source = read_source(str(root), DataConfig())
    assert source.name == "photos"
    assert source.vocabulary["label"] == tuple(sorted(shapes.vocabulary["label"]))
    assert source.columns["label"].values.bincount().tolist() == [10, 10, 10, 10]
    assert source.describe(0) == str(root / "arrow" / "000.png")
    assert set(pixel_hashes(source)) == set(shapes.content_hashes())


def test_read_folder__hidden_files_and_leftovers_of_file_managers__are_ignored(root: Path) -> None:
    (root / ".DS_Store").write_bytes(b"x")
    (root / "arrow" / ".thumbs").write_bytes(b"x")
    (root / "arrow" / "Thumbs.db").write_bytes(b"x")
    (root / "arrow" / "desktop.ini").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "README.txt").write_text("about these images")
    (root / "@eaDir").mkdir()
    source = read_source(str(root), DataConfig())
    assert len(source) == 40
    names = r".DS_Store, .git, @eaDir, .thumbs and 2 other names"
    assert source.notes == (f"left out 6 files and folders of 'photos' that are no images: {names}",)
    assert read_unlabelled(str(root / "arrow"), DataConfig()).notes[0].startswith("left out 3 files and folders")


def test_read_folder__train_as_name__takes_the_folder_above(root: Path) -> None:
    root.rename(root.parent / "train")
    assert read_source(str(root.parent / "train"), DataConfig()).name == f"{root.parent.name}-train"


def test_read_folder__empty_class__is_named(root: Path) -> None:
    (root / "zebra").mkdir()
    with pytest.raises(DataError, match=r"images in every class folder, got none in .*zebra"):
        read_source(str(root), DataConfig())


def test_read_folder__no_class_folder__says_how_to_sort(tmp_path: Path, png: Callable[..., bytes]) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(DataError, match="one folder of images per class, got none in"):
        read_source(str(tmp_path), DataConfig())


def test_read_folder__one_class__is_refused_for_training_only(tmp_path: Path, png: Callable[..., bytes]) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(png())
    with pytest.raises(DataError, match=r"at least two classes, got only \['cat'\]"):
        load_splits(DataConfig(train=str(tmp_path)), seed=0)
    assert len(read_source(str(tmp_path), DataConfig(), vocabulary={"label": ("cat", "dog")})) == 1


def test_read_folder__image_beside_the_class_folders__is_named(root: Path, png: Callable[..., bytes]) -> None:
    (root / "stray.JPG").write_bytes(png())
    with pytest.raises(DataError, match=r"stray\.JPG beside the class folders"):
        read_source(str(root), DataConfig())


def test_read_folder__other_files_in_a_class__are_left_out_and_counted_by_ending(root: Path) -> None:
    for name in ("tee/notes.txt", "tee/1.heic", "wedge/2.HEIC"):
        (root / name).write_text("x")
    source = read_source(str(root), DataConfig())
    assert len(source) == 40
    assert source.notes == ("left out 3 files and folders of 'photos' that are no images: *.heic (2), notes.txt",)


def test_read_folder__folder_of_splits__is_told_apart_from_classes(root: Path) -> None:
    with pytest.raises(DataError, match=r"arrow, a folder: .*name the folder above the classes"):
        read_source(str(root.parent), DataConfig())


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_read_folder__text_named_png__is_named(root: Path, storage: str) -> None:
    (root / "arrow" / "000.png").write_text("no image")
    with pytest.raises(DataError, match=r"8 bytes of something else in .*000\.png"):
        read_source(str(root), DataConfig(storage=storage))


def test_read_folder__zero_size_file__is_named(root: Path) -> None:
    (root / "wedge" / "039.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"0 bytes of something else in .*039\.png"):
        read_source(str(root), DataConfig())


def test_read_folder__dangling_link__is_named(root: Path) -> None:
    (root / "wedge" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(DataError, match=r"a file that can be read, got .*gone\.png \(No such file"):
        read_source(str(root), DataConfig())


def test_read_folder__unknown_class_elsewhere__is_named(root: Path) -> None:
    with pytest.raises(
        DataError, match=r"values of 'label' that train has \(arrow, corner, tee\), got 'wedge' at .*003\.png"
    ):
        read_source(str(root), DataConfig(), vocabulary={"label": ("arrow", "corner", "tee")})


def test_read_folder__classes_elsewhere__are_mapped_by_name(root: Path) -> None:
    names = ("wedge", "other", "tee", "corner", "arrow")
    source = read_source(str(root), DataConfig(), vocabulary={"label": names})
    assert source.vocabulary["label"] == names
    assert source.columns["label"].values.bincount(minlength=5).tolist() == [10, 0, 10, 10, 10]
    for index in range(0, 40, 10):
        name = names[int(source.columns["label"].values[index])]
        assert f"/{name}/" in source.describe(index)


def test_read_source__storage__decides_the_class(root: Path) -> None:
    assert isinstance(read_source(str(root), DataConfig()), InMemorySource)
    assert isinstance(read_source(str(root), DataConfig(storage="memory")), InMemorySource)
    assert isinstance(read_source(str(root), DataConfig(storage="stream")), StreamingSource)


@pytest.mark.parametrize("name", ["nothing", "notes.txt", "n" * 5000])
def test_read_source__unknown_kind__says_what_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(
        DataError, match=rf"a folder, a Parquet or CSV file, hf://owner/name, or file\.py:Name, got '.*{name[:100]}"
    ):
        read_source(str(tmp_path / name), DataConfig())


@pytest.fixture
def table(root: Path) -> list[list[str]]:
    """Header and a row for every image, as labels.csv should have them."""
    files = sorted(root.rglob("*.png"))
    return [["path", "site"], *([str(file.relative_to(root)), str(i % 3)] for i, file in enumerate(files))]


def test_read_folder__labels_csv__finds_files_in_either_form_of_a_letter(
    root: Path, table: list[list[str]], write_csv: Callable[..., Path]
) -> None:
    (root / table[1][0]).rename(root / "arrow" / "cafe\u0301.png")
    table[1] = ["arrow/caf\u00e9.png", "7"]
    write_csv(table, root / "labels.csv")
    column = read_source(str(root), DataConfig(columns=("site",))).columns["site"]
    assert [column.names[value] for value in column.values.tolist()].count("7") == 1


def test_read_folder__classes_in_two_forms_of_one_letter__are_one(root: Path) -> None:
    (root / "arrow").rename(root / "caf\u00e9")
    (root / "tee").rename(root / "cafe\u0301")
    source = read_source(str(root), DataConfig())
    assert source.vocabulary["label"] == ("caf\u00e9", "corner", "wedge")
    assert source.columns["label"].values.bincount().tolist() == [20, 10, 10]


def test_read_folder__labels_csv__is_read_only_when_columns_are_asked_for(
    root: Path, table: list[list[str]], write_csv: Callable[..., Path]
) -> None:
    write_csv(table[:1], root / "labels.csv")
    assert len(read_source(str(root), DataConfig())) == len(read_unlabelled(str(root), DataConfig())) == 40
    write_csv([table[0], *reversed(table[1:])], root / "labels.csv")
    source = read_source(str(root), DataConfig(columns=("site",)))
    assert source.columns["site"].values.tolist() == [i % 3 for i in range(40)]
    table[0][0] = "file"
    write_csv(table, root / "labels.csv")
    assert len(read_source(str(root), DataConfig(columns=("site",), path_column="file")).columns) == 2


def test_read_folder__no_labels_csv__says_what_it_should_have(root: Path) -> None:
    message = r"the file .*photos/labels\.csv with the columns path, site, scene, got none: write it, or leave out"
    with pytest.raises(DataError, match=message):
        read_source(str(root), DataConfig(columns=("site", "scene")))
    assert read_unlabelled(str(root), DataConfig(columns=("site",))).columns["site"].names == ()


def test_read_folder__image_without_a_row__is_named_or_left_out(
    root: Path, table: list[list[str]], write_csv: Callable[..., Path]
) -> None:
    write_csv(table[:5] + table[6:], root / "labels.csv")
    message = rf"a value of 'site' for every image, got none for {root}/{table[5][0]} in {root}/labels\.csv: fill it in"
    with pytest.raises(DataError, match=message):
        read_source(str(root), DataConfig(columns=("site",)))
    source = read_source(str(root), DataConfig(columns=("site",), unknown="ignore"))
    assert source.notes == ("left out 1 of 40 images of 'photos': 1 without a value of 'site'",)


@pytest.mark.parametrize("unknown", ["refuse", "ignore"])
@pytest.mark.parametrize("path", ["arrow/none.png", "../photos.png", "arrow"])
def test_read_folder__row_without_an_image__is_named(
    root: Path, table: list[list[str]], write_csv: Callable[..., Path], path: str, unknown: str
) -> None:
    write_csv([*table, [path, "1"]], root / "labels.csv")
    with pytest.raises(DataError, match=rf"the path of an image of the set, got '{path}' in line 42 of .*labels\.csv"):
        read_source(str(root), DataConfig(columns=("site",), unknown=unknown))


def test_read_folder__two_rows_of_an_image__names_both(
    root: Path, table: list[list[str]], write_csv: Callable[..., Path]
) -> None:
    path = "./" + table[5][0].replace("/", "//")
    write_csv([*table, [path, "1"]], root / "labels.csv")
    with pytest.raises(DataError, match=rf"one row for every image, got '{path}' in line 42 of .*, as in line 6"):
        read_source(str(root), DataConfig(columns=("site",)))


def test_read_folder__labels_csv_in_a_class__is_no_image(root: Path) -> None:
    (root / "tee" / "labels.csv").write_text("x")
    for read in (read_source, read_unlabelled):
        source = read(str(root), DataConfig())
        assert len(source) == 40
        assert source.notes == ("left out 1 file or folder of 'photos' that is no image: labels.csv",)


def test_read_source__python_file_without_a_name__says_how_to_name_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "pixels.py").touch()
    with pytest.raises(DataError, match=r"or file\.py:Name, got .*: name what makes the source: pixels\.py:Name"):
        read_source(str(tmp_path / "pixels.py"), DataConfig())


def test_read_unlabelled__no_column_asked_for__does_not_open_the_table(root: Path) -> None:
    (root / "labels.csv").write_bytes(b"\xff\xfe\xff")
    assert len(read_unlabelled(str(root), DataConfig())) == 40
    with pytest.raises(DataError, match="a CSV in UTF-8"):
        read_unlabelled(str(root), DataConfig(columns=("site",)))
