from pathlib import Path

import pytest

from auxo.data.readers.leftovers import describe_leftovers, is_leftover


@pytest.mark.parametrize(
    "name", ["@eaDir", "__MACOSX", "Thumbs.db", "THUMBS.DB", "desktop.ini", ".DS_Store", "._cat.jpg", "lost+found"]
)
def test_is_leftover__what_a_program_leaves__is_one(name: str) -> None:
    assert is_leftover(name)


@pytest.mark.parametrize("name", ["cat", "thumbs", "macosx", "@home", "cat.jpg", "thumbs.db.png", "notes.txt"])
def test_is_leftover__what_a_person_may_name_so__is_none(name: str) -> None:
    assert not is_leftover(name)


def test_describe_leftovers__many__are_counted_in_one_line() -> None:
    skipped = [Path("photos") / folder / name for folder in "abc" for name in (".DS_Store", "Thumbs.db")]
    skipped += [Path("x/@eaDir"), Path("x/Icon\r"), Path("x/.a"), Path("x/.b")]
    (sentence,) = describe_leftovers("photos", skipped)
    assert sentence == (
        "left out 10 files and folders of 'photos' that are no images: "
        r".DS_Store (3), Thumbs.db (3), @eaDir, Icon\r and 2 other names"
    )
    assert describe_leftovers("x", [".a"]) == ("left out 1 file or folder of 'x' that is no image: .a",)
