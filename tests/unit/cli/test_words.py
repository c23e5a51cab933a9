"""What a name may do to a terminal: nothing."""

import os
import shutil

import pytest

from auxo.cli.words import escape_controls, say


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J\x07", r"a\x1b[2J\x07"),
        ("x\u202egnp.exe", r"x\u202egnp.exe"),
        ("\x9b31m", r"\x9b31m"),
        ("caf\udce9", r"caf\udce9"),
        ("猫 é\tz\n", "猫 é\tz\n"),
        ("a\rb", r"a\rb"),
    ],
)
def test_escape_controls__any_name__moves_no_cursor(text, shown):
    assert escape_controls(text) == shown


def test_say__controls__are_spelled(capsys):
    say("a\x1bb", end="")
    assert capsys.readouterr().out == r"a\x1bb"


def test_command__name_with_controls__is_refused_in_spelled_letters(auxo, tmp_path):
    answer = auxo("evaluate", tmp_path / "a\x1b[2Jb")
    assert answer.code == 2
    assert "\x1b" not in answer.err
    assert r"a\x1b[2Jb" in answer.err


def test_predict__name_that_is_no_utf8__is_in_the_csv(auxo, finished_run, shapes_folder, tmp_path):
    place = tmp_path / "images"
    place.mkdir()
    name = b"caf\xe9.png"
    shutil.copy(next(shapes_folder.rglob("*.png")), os.fsencode(place) + b"/" + name)
    answer = auxo("predict", finished_run, place, "--out", tmp_path / "out.csv")
    assert answer.code == 0, answer.err
    assert name in (tmp_path / "out.csv").read_bytes()
