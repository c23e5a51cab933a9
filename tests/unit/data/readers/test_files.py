import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from auxo.data.config import DataConfig
from auxo.data.decode import FORMATS
from auxo.data.readers import read_source, read_unlabelled
from auxo.data.readers.files import find_tree, list_class, list_entries, list_tree
from auxo.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def fill(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def names_of(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_list_entries__endings__are_all_that_the_decoder_reads(root: Path) -> None:
    endings = sorted(ending for ending, name in Image.registered_extensions().items() if name in FORMATS)
    assert {".png", ".apng", ".jpg", ".jpe", ".jfif", ".pbm", ".pnm", ".j2k", ".jpx", ".tiff"} <= set(endings)
    fill(root, *(f"a{ending}" for ending in endings), "b.PNG", "c.heic", "d", "e.mp4")
    found = list_entries(root)
    assert names_of(found.images, root) == sorted([*(f"a{ending}" for ending in endings), "b.PNG"])
    assert names_of(found.others, root) == ["c.heic", "d", "e.mp4"]


def test_list_entries__hidden_names__are_left_out(root: Path) -> None:
    fill(root / ".trash", "a.png")
    fill(root, ".a.png", "Thumbs.db", "desktop.ini", "b.png")
    fill(root / "@eaDir" / "b.png", "SYNOPHOTO_THUMB.jpg")
    names = [".a.png", ".trash", "@eaDir", "Thumbs.db", "desktop.ini"]
    assert list_entries(root) == ([root / "b.png"], [], [], [root / name for name in names])
    assert list_tree(root).images == [root / "b.png"]


def test_find_tree__order__is_that_of_the_parts_of_paths(root: Path) -> None:
    fill(root / "a", "b.png")
    fill(root, "a-b.png", "z.png")
    fill(root / "a" / "a", "9.png", "10.png")
    assert names_of(find_tree(root).images, root) == ["a/a/10.png", "a/a/9.png", "a/b.png", "a-b.png", "z.png"]


def test_find_tree__linked_folders__are_gone_through_once_and_without_an_end(root: Path, tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere" / "deep", "a.png")
    fill(root / "own", "b.png")
    (root / "again").symlink_to(root / "own")  # stands before it, and yet it is known by its own path
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(root)
    (tmp_path / "elsewhere" / "twice").symlink_to(tmp_path / "elsewhere" / "deep")
    (root / "round").symlink_to(root / "round")
    found = find_tree(root)
    assert names_of(found.images, root) == ["linked/deep/a.png", "own/b.png"]
    assert names_of(found.others, root) == ["round"]


def test_find_tree__linked_images__count_and_those_that_lead_nowhere_too(root: Path, tmp_path: Path) -> None:
    fill(tmp_path, "far.png")
    (root / "a.png").symlink_to(tmp_path / "far.png")
    (root / "gone.png").symlink_to(tmp_path / "gone.png")  # its reader says so
    (root / "self.png").symlink_to(root / "self.png")
    assert names_of(find_tree(root).images, root) == ["a.png", "gone.png", "self.png"]


@pytest.mark.parametrize("is_linked", [False, True])
def test_list_entries__pipe_called_as_an_image__is_refused_without_being_opened(
    root: Path, tmp_path: Path, is_linked: bool
) -> None:
    os.mkfifo(tmp_path / "pipe" if is_linked else root / "a.png")
    if is_linked:
        (root / "a.png").symlink_to(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"files, got .*a\.png, a pipe, socket or device: remove it"):
        list_tree(root)


def test_find_tree__pairs__are_the_images_alone(root: Path) -> None:
    fill(root / "images" / "images", "a.png")
    fill(root / "labels", "a.png")
    assert names_of(find_tree(root).images, root) == ["images/images/a.png"]


def test_list_tree__tables__are_no_images_in_the_folder_itself_only(root: Path) -> None:
    fill(root, "a.png", "labels.csv", "classes.csv")
    assert names_of(list_tree(root).images, root) == ["a.png"]
    fill(root / "below", "labels.csv")
    assert list_tree(root).leftovers == [root / "below" / "labels.csv"]


def test_find_tree__no_such_folder__is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"a folder that can be read, got .*gone \(No such file or directory\)"):
        find_tree(root / "gone")


def test_list_entries__file_instead_of_a_folder__is_named(root: Path) -> None:
    fill(root, "a.png")
    with pytest.raises(DataError, match=r"a folder that can be read, got .*a\.png \(Not a directory\)"):
        list_entries(root / "a.png")


def test_list_class__anything_but_images__is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"images in every class folder, got none"):
        list_class(root)
    fill(root, "a.png", "z.txt")
    fill(root / "below")
    with pytest.raises(DataError, match=r"only images in a class folder, got .*below, a folder"):
        list_class(root)


def test_readers__one_folder__give_every_command_the_same_images(
    root: Path, tmp_path: Path, png: Callable[..., bytes]
) -> None:
    for name in ("cat", "dog"):
        fill(root / name, *(f"{name}{ending}" for ending in (".jfif", ".jpe", ".pbm", ".apng", ".j2k", ".PNM", ".png")))
        fill(root / name, ".hidden.png", "Thumbs.db")
    fill(tmp_path / "far", "a.png", "b.jpx")
    (root / "eel").symlink_to(tmp_path / "far")
    for path in find_tree(root).images:
        path.write_bytes(png())
    labelled, unlabelled = (read(str(root), DataConfig(storage="stream")) for read in (read_source, read_unlabelled))
    (tmp_path / "pairs").mkdir()
    for folder in ("images", "masks"):
        (tmp_path / "pairs" / folder).symlink_to(root)
    pairs = read_unlabelled(str(tmp_path / "pairs"), DataConfig(), mask="mask")
    found = names_of(find_tree(root).images, root)
    assert len(found) == 16
    for source, place in ((labelled, root), (unlabelled, root), (pairs, tmp_path / "pairs" / "images")):
        assert names_of([Path(source.describe(i)) for i in range(len(source))], place) == found
