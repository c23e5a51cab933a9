"""A file is as before or complete."""

import os
import stat

import pytest

from auxo.errors import OutputError
from auxo.files.atomic import AppendedFile, make_folder, prepare_place, write_atomically
from auxo.files.temporary import remove_temporaries


def test_write_atomically__new_and_old_file__has_the_content_and_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    for content in ("é\n", b"\x00\xff", "", b"x" * 100_000):
        write_atomically(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_write_atomically__umask__holds_as_for_any_other_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", "x")
        write_atomically(tmp_path / "file", "y")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask


def test_remove_temporaries__of_a_killed_process__go_and_nothing_else(tmp_path):
    for name in (".lock", "file", ".file.0123abcd.part", "x.part"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", "file", "x.part"]


def test_write_atomically__disk_full__leaves_the_old_file(tmp_path, full_disk):
    path = tmp_path / "file"
    path.write_text("old")
    with full_disk(1000), pytest.raises(OutputError, match=r"to write .*file, got file too large: free the disk and"):
        write_atomically(path, b"x" * 2000)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(("name", "reason"), [("gone/file", "no such file or directory"), ("old/x", "not a directory")])
def test_write_atomically__no_such_folder__says_so_without_talk_of_a_full_disk(tmp_path, name, reason):
    (tmp_path / "old").write_text("old")
    with pytest.raises(OutputError, match=rf"to write .*, got {reason}: choose another --out"):
        write_atomically(tmp_path / name, "new")
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "old"


def test_write_atomically__folder_in_the_way__leaves_it(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write_atomically(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == ["file"]


def test_appended_file__pieces__are_on_disk_when_write_returns(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a")
    file = AppendedFile(path)
    for piece in (b"b", b"", b"cd"):
        file.write(piece)
    assert path.read_bytes() == b"abcd"
    file.close()


def test_appended_file__disk_full__tells_and_closes(tmp_path, full_disk):
    file = AppendedFile(tmp_path / "file")
    with full_disk(10), pytest.raises(OutputError, match=r"to write .*file, got file too large: free the disk"):
        file.write(b"x" * 20)
    file.write(b"y")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"x" * 10 + b"y"


def test_appended_file__folder_missing__tells(tmp_path):
    with pytest.raises(OutputError, match=r"no such file or directory: choose another --out"):
        AppendedFile(tmp_path / "gone" / "file")


def test_make_folder__new_old_or_impossible(tmp_path):
    assert make_folder(tmp_path / "a" / "b").is_dir()
    assert make_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"to write .*file/b, got not a directory"):
        make_folder(tmp_path / "file" / "b")


def test_make_folder__name_beyond_the_greatest_length__tells(tmp_path):
    with pytest.raises(OutputError, match="got file name too long: choose another --out"):
        make_folder(tmp_path / ("x" * 256) / "run")


def test_write_atomically__name_of_the_greatest_length__is_written(tmp_path):
    path = tmp_path / ("x" * 255)
    write_atomically(path, "x")
    assert path.read_text() == "x"


def test_prepare_place__missing_folder_or_a_folder_itself__is_told_before_the_work(tmp_path):
    with pytest.raises(OutputError, match=r"got no folder .*gone: make it"):
        prepare_place(tmp_path / "gone" / "x")
    with pytest.raises(OutputError, match=r"a file for --out, got .*, a folder: name a file in it"):
        prepare_place(tmp_path)


def test_prepare_place__left_over_of_a_killed_command__goes(tmp_path):
    (tmp_path / ".rows.jsonl.0123abcd.part").touch()
    assert prepare_place(tmp_path / "rows.jsonl") == tmp_path / "rows.jsonl"
    assert os.listdir(tmp_path) == []
