"""Things of the user's own: which names are theirs, what a file gives, and which file stands for which."""

import os
import sys
from pathlib import Path

import pytest

from auxo.errors import AuxoError, ConfigError, DataError
from auxo.registry.outside import (
    absolute_name,
    call_outside,
    import_file,
    is_outside,
    load_outside,
    pair_files,
    run_foreign,
    short_name,
    split_outside,
)

FILE = """
runs = []

class Shape:
    class Inner(dict):
        pass

def make(*args, **options):
    return dict(options, args=args)

def fail():
    raise ValueError("a reason\\nof two lines")

number = 3
"""


@pytest.fixture
def file(tmp_path):
    """A file with some names."""
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("name", "path", "inner"),
    [
        ("net.py:Tiny", "net.py", "Tiny"),
        ("/home/me/net.py:Outer.Inner", "/home/me/net.py", "Outer.Inner"),
        ("with space/a.py:b", "with space/a.py", "b"),
        ("odd:place/a.py:b.py:C", "odd:place/a.py:b.py", "C"),
        ("a.py:recipe.<locals>.Mine", "a.py", "recipe.<locals>.Mine"),
        ("a.py:Größe", "a.py", "Größe"),
    ],
)
def test_split_outside__file_and_name__are_told_apart(name, path, inner):
    assert is_outside(name)
    assert split_outside(name) == (Path(path), inner)


@pytest.mark.parametrize(
    "name",
    ["lenet5", "timm:resnet18", "hf:me/net", "hf://me/data.py:x", "a.py", "a.py:", ".py:A", "a.py:1", "a.py:b c", ""],
)
def test_is_outside__another_name__is_none(name):
    assert not is_outside(name)
    assert absolute_name(name) == short_name(name) == name
    with pytest.raises(ConfigError, match=r"expected file\.py:Name"):
        split_outside(name)


def test_absolute_name__relative_and_home__once_is_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    whole = f"{tmp_path.resolve()}/a/net.py:Tiny"
    assert absolute_name("a/net.py:Tiny") == absolute_name("~/a/net.py:Tiny") == whole
    assert absolute_name(whole) == whole
    assert short_name(whole) == "net.py:Tiny"


def test_load_outside__class_of_the_kind__is_one_object(file):
    found = load_outside(f"{file}:Shape.Inner", dict)
    assert issubclass(found, dict)
    assert load_outside(f"{file}:Shape.Inner", dict) is found


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Shape", r"a subclass of dict called Shape in .*mine\.py, got <class .*Shape'>: define it there"),
        ("number", r"called number in .*mine\.py, got 3"),
        ("Shape.Missing", r"called Shape\.Missing in .*mine\.py, got none"),
        ("recipe.<locals>.Mine", r"called recipe\.<locals>\.Mine in .*mine\.py, got none"),
    ],
)
def test_load_outside__not_there_or_of_another_kind__is_told(file, name, says):
    with pytest.raises(ConfigError, match=says):
        load_outside(f"{file}:{name}", dict)


def test_load_outside__no_file__is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"a Python file, got no file .*gone\.py: check the path before the colon"):
        load_outside(f"{tmp_path}/gone.py:Shape", dict)


def test_call_outside__class_or_function__gets_what_is_given(file):
    assert call_outside(f"{file}:make", dict, 1, height=2) == {"args": (1,), "height": 2}
    assert isinstance(call_outside(f"{file}:Shape.Inner", dict), dict)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("number", r"a class or function called number in .*mine\.py that makes an int, got 3: define it there"),
        ("missing", r"called missing in .*, got none"),
        ("make", r"called make in .*, got one that makes a dict: let it return an int"),
        ("fail", r"mine\.py to run, got ValueError: a reason of two lines at line 12: repair the file$"),
    ],
)
def test_call_outside__makes_nothing_of_the_kind__is_told_in_one_line(file, name, says):
    with pytest.raises(ConfigError, match=says) as caught:
        call_outside(f"{file}:{name}", int)
    assert "\n" not in str(caught.value)


def test_import_file__same_text__runs_once_and_after_an_edit_again(file):
    first = import_file(file)
    first.runs.append(1)
    assert import_file(file) is first
    before = file.stat()
    file.write_text(FILE.replace("number = 3", "number = 4"))  # of the same size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # and time, as after an edit within a second
    second = import_file(file)
    assert (second.number, second.runs, first.number) == (4, [], 3)
    assert sys.modules[second.Shape.__module__] is second
    assert not (file.parent / "__pycache__").exists()


def test_import_file__two_of_one_name_and_text__are_two_modules(file, tmp_path):
    other = tmp_path / "b" / file.name
    other.parent.mkdir()
    other.write_text(FILE)
    assert import_file(other) is not import_file(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 / 0", r"to run, got ZeroDivisionError: division by zero at line 1: repair the file"),
        ("x = (", r"to run, got SyntaxError: '\(' was never closed at line 1: repair the file"),
        ("import no_such_module", r"to run, got ModuleNotFoundError: No module named 'no_such_module' at line 1"),
        ("raise SystemExit('bye')", r"to run, got SystemExit: bye at line 1"),
    ],
)
def test_import_file__raises__is_one_line_and_leaves_no_module(tmp_path, text, says):
    path = tmp_path / "broken.py"
    path.write_text(text)
    for _ in range(2):  # not taken for one that has run
        with pytest.raises(ConfigError, match=says):
            import_file(path)
    assert not [name for name in sys.modules if name.startswith("auxo_outside_broken_")]


def test_run_foreign__error_of_auxo__passes_as_it_is():
    def call():
        raise DataError("a", "b", "c")

    with pytest.raises(DataError) as caught:
        run_foreign(call, "x.py")
    assert isinstance(caught.value, AuxoError)


def paths(*names):
    """Return paths."""
    return [Path(name) for name in names]


@pytest.mark.parametrize(
    ("recorded", "named", "expected"),
    [
        (["/a/x.py", "/a/y.py"], ["/a/y.py", "/a/x.py"], {"/a/x.py": "/a/x.py", "/a/y.py": "/a/y.py"}),
        (["/a/x.py", "/a/y.py"], ["/b/y.py", "/b/x.py"], {"/a/x.py": "/b/x.py", "/a/y.py": "/b/y.py"}),
        (["/a/x.py"], ["/b/renamed.py"], {"/a/x.py": "/b/renamed.py"}),
        (["/a/x.py", "/a/y.py"], ["/a/x.py", "/b/renamed.py"], {"/a/x.py": "/a/x.py", "/a/y.py": "/b/renamed.py"}),
        (["/a/x.py", "/a/y.py"], ["/b/renamed.py"], {}),
        (["/a/x.py"], ["/b/one.py", "/b/two.py"], {}),
        (["/a/x.py"], ["/b/x.py", "/c/x.py"], {}),
        (["/a/x.py", "/b/x.py"], ["/new/b/x.py", "/new/a/x.py"], {"/a/x.py": "/new/a/x.py", "/b/x.py": "/new/b/x.py"}),
        (["/a/x.py", "/b/x.py"], ["/new/x.py"], {}),
        (["net.py", "my.py"], ["/b/my.py", "/c/net.py"], {"net.py": "/c/net.py", "my.py": "/b/my.py"}),
        (["/a/x.py"], [], {}),
        ([], ["/a/x.py"], {}),
    ],
)
def test_pair_files__same_then_alike_then_left_over__never_a_guess_between_two(recorded, named, expected):
    found = pair_files(paths(*recorded), paths(*named))
    assert {str(path): str(place) for path, place in found.items()} == expected
