from collections.abc import Callable
from pathlib import Path

import pytest

from auxo.data.config import DataConfig
from auxo.data.readers import read_source
from auxo.data.sources import InMemorySource, StreamingSource
from auxo.errors import DataError


@pytest.fixture
def root(tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path]) -> Path:
    return write_folder(shapes, tmp_path / "photos")


def test_read_folder__class_folders__gives_sorted_classes(root: Path, shapes: InMemorySource) -> None:
    source = read_source(str(root), DataConfig())
    assert source.name == "photos"
    assert source.class_names == tuple(sorted(shapes.class_names))
    assert source.labels.bincount().tolist() == [10, 10, 10, 10]
    assert source.describe(0) == str(root / "arrow" / "000.png")
    assert set(source.content_hashes()) == set(shapes.content_hashes())


def test_read_folder__hidden_files_and_leftovers_of_file_managers__are_ignored(root: Path) -> None:
    (root / ".DS_Store").write_bytes(b"x")
    (root / "arrow" / ".thumbs").write_bytes(b"x")
    (root / "arrow" / "Thumbs.db").write_bytes(b"x")
    (root / "arrow" / "desktop.ini").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "README.txt").write_text("about these pictures")
    assert len(read_source(str(root), DataConfig())) == 40


def test_read_folder__train_as_name__takes_the_folder_above(root: Path) -> None:
    root.rename(root.parent / "train")
    assert read_source(str(root.parent / "train"), DataConfig()).name == f"{root.parent.name}-train"


def test_read_folder__empty_class__is_named(root: Path) -> None:
    (root / "zebra").mkdir()
    with pytest.raises(DataError, match=r"pictures in every class folder, got none in .*zebra"):
        read_source(str(root), DataConfig())


def test_read_folder__no_class_folder__says_how_to_sort(tmp_path: Path, png: Callable[..., bytes]) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(DataError, match="one folder of pictures per class, got none in"):
        read_source(str(tmp_path), DataConfig())


def test_read_folder__one_class__is_refused_for_training_only(tmp_path: Path, png: Callable[..., bytes]) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(png())
    with pytest.raises(DataError, match=r"at least two classes, got 1 \(cat\)"):
        read_source(str(tmp_path), DataConfig())
    assert len(read_source(str(tmp_path), DataConfig(), class_names=("cat", "dog"))) == 1


def test_read_folder__picture_beside_the_class_folders__is_named(root: Path, png: Callable[..., bytes]) -> None:
    (root / "stray.JPG").write_bytes(png())
    with pytest.raises(DataError, match=r"stray\.JPG beside the class folders"):
        read_source(str(root), DataConfig())


def test_read_folder__other_file_in_a_class__is_named(root: Path) -> None:
    (root / "tee" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"only pictures in a class folder, got .*notes\.txt, no known picture format"):
        read_source(str(root), DataConfig())


def test_read_folder__folder_of_splits__is_told_apart_from_classes(root: Path) -> None:
    with pytest.raises(DataError, match=r"arrow, a folder: .*name the folder above the classes"):
        read_source(str(root.parent), DataConfig())


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_read_folder__text_named_png__is_named(root: Path, storage: str) -> None:
    (root / "arrow" / "000.png").write_text("no picture")
    with pytest.raises(DataError, match=r"10 bytes of something else in .*000\.png"):
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
        DataError, match=r"classes of the training set \(arrow, corner, tee\), got 'wedge' at .*003\.png"
    ):
        read_source(str(root), DataConfig(), class_names=("arrow", "corner", "tee"))


def test_read_folder__classes_elsewhere__are_mapped_by_name(root: Path) -> None:
    names = ("wedge", "other", "tee", "corner", "arrow")
    source = read_source(str(root), DataConfig(), class_names=names)
    assert source.class_names == names
    assert source.labels.bincount(minlength=5).tolist() == [10, 0, 10, 10, 10]
    for index in range(0, 40, 10):
        assert f"/{names[int(source.labels[index])]}/" in source.describe(index)


def test_read_source__storage__decides_the_class(root: Path) -> None:
    assert isinstance(read_source(str(root), DataConfig()), InMemorySource)
    assert isinstance(read_source(str(root), DataConfig(storage="memory")), InMemorySource)
    assert isinstance(read_source(str(root), DataConfig(storage="stream")), StreamingSource)


@pytest.mark.parametrize("name", ["nothing", "notes.txt", "n" * 5000])
def test_read_source__unknown_kind__says_what_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=rf"a folder, a Parquet or CSV file, or hf://owner/name, got '.*{name}'"):
        read_source(str(tmp_path / name), DataConfig())
