"""What killed processes leave is told from what somebody writes."""

import os

from auxo.files import temporary
from auxo.files.temporary import empty_unused, hold_temporary, is_unused, remove_temporaries


def test_remove_temporaries__held_by_a_writer__stay_until_it_is_gone(tmp_path):
    with hold_temporary(tmp_path / "file") as (path, _):
        remove_temporaries(tmp_path)
        assert path.exists()
        assert not is_unused(tmp_path)
    remove_temporaries(tmp_path)
    assert os.listdir(tmp_path) == []


def test_remove_temporaries__folder_of_a_killed_export__goes_with_what_is_in_it(tmp_path):
    left = tmp_path / ".export.0123abcd.part"
    left.mkdir()
    (left / "README.md").touch()
    assert is_unused(tmp_path)
    remove_temporaries(tmp_path)
    assert os.listdir(tmp_path) == []


def test_remove_temporaries__until_one_is_gone__nobody_else_can_take_hold_of_it(tmp_path, monkeypatch):
    (tmp_path / ".file.0123abcd.part").touch()
    delete, was_unused = temporary.delete_temporary, []

    def look_and_delete(path):
        was_unused.append(is_unused(tmp_path))
        delete(path)

    monkeypatch.setattr(temporary, "delete_temporary", look_and_delete)
    remove_temporaries(tmp_path)
    assert was_unused == [False]
    assert os.listdir(tmp_path) == []


def test_remove_temporaries__names_of_other_programs__stay(tmp_path):
    names = {"a.0123abcd.part", ".film.part", ".x.0123ABCD.part", ".x.0123abcd.part2"}
    for name in names:
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert set(os.listdir(tmp_path)) == names


def test_hold_temporary__longest_name_of_any_script__has_room(tmp_path):
    for name in ("x" * 255, "界" * 85):
        with hold_temporary(tmp_path / name) as (path, _):
            assert path.exists()


def test_is_unused__missing_empty_and_what_an_early_death_leaves__are(tmp_path):
    assert is_unused(tmp_path / "gone")
    assert is_unused(tmp_path)
    for name in (".lock", ".config.json.0123abcd.part"):
        (tmp_path / name).touch()
    assert is_unused(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert not is_unused(tmp_path)
    assert not is_unused(tmp_path / ".lock")


def test_empty_unused__files_of_others__stay(tmp_path):
    left = tmp_path / ".made.0123abcd.part"
    left.mkdir()
    (left / "model.pt2").touch()
    (tmp_path / ".lock").touch()
    (tmp_path / ".env").touch()
    with hold_temporary(tmp_path / "held") as held:
        empty_unused(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".env", held.path.name])
