import os
from pathlib import Path

import pytest

from auxo.files.moved import MovedPlaces, find_path, find_place, finding_moved, list_moved, must_match, suggest_moved


def test_find_place__outside_of_a_run__is_as_named() -> None:
    assert find_place("~/photos") == "~/photos"
    assert (list_moved(), must_match(), suggest_moved("photos")) == ({}, False, "")


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("/data/photos", "/disk/p"),
        ("/data/photos/train/cat", "/disk/p/train/cat"),
        ("/data/photos-2", "/elsewhere/photos-2"),
        ("/data/./list.csv", "/elsewhere/list.csv"),
        ("/database", "/database"),
        ("~/pictures/1.png", "/home-of-pictures/1.png"),
        ("hf://owner/name", "hf://owner/name"),
    ],
)
def test_find_place__several_old_places__takes_the_longest(named: str, found: str) -> None:
    places = {"/data": "/elsewhere", "/data/photos/": "/disk/p", "~/pictures": "/home-of-pictures"}
    with finding_moved(MovedPlaces(places)):
        assert find_place(named) == found


def test_find_path__new_place_below_the_home__is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert find_path("~/photos") == Path("/home/me/photos")
    with finding_moved(MovedPlaces({"/old": "~/new"})):
        assert find_path("/old/cat.png") == Path("/home/me/new/cat.png")


def test_find_place__everything_moved__keeps_the_folders() -> None:
    with finding_moved(MovedPlaces({"/": "/backup"})):
        assert find_place("/photos/1.png") == "/backup/photos/1.png"


def test_find_place__relative_paths__begin_at_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with finding_moved(MovedPlaces({"photos": "/new"})):
        assert find_place("photos/train") == find_place(os.path.join(tmp_path, "photos", "train")) == "/new/train"
        with finding_moved(None):
            assert find_place("photos/train") == "photos/train"
        assert must_match() is False
        assert suggest_moved("a b") == "pass --moved 'a b=NEW' with its new place, or "
