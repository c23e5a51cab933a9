"""Docstrings under fields."""

from dataclasses import dataclass, make_dataclass

from auxo.cli.changes import change_config
from auxo.cli.field_docs import read_field_docs
from auxo.cli.shapes import make_shape


@dataclass(frozen=True)
class Base:
    """Two fields."""

    first: int = 1
    """The first,
    which takes a line more."""
    second: int = 2  # No docstring, but a comment.


@dataclass(frozen=True)
class Derived(Base):
    """Another first, and two of its own."""

    first: int = 3
    """The first, told otherwise."""
    third: int = 4
    fourth: int = 5
    """The last."""


def test_read_field_docs__lines_and_bases__are_joined_and_inherited():
    assert dict(read_field_docs(Base)) == {"first": "The first, which takes a line more."}
    assert dict(read_field_docs(Derived)) == {"first": "The first, told otherwise.", "fourth": "The last."}


def test_read_field_docs__a_class_without_source__has_none():
    assert not read_field_docs(make_dataclass("Made", [("field", int, 1)]))


def test_change_config__help__says_the_docstring_of_every_field(capsys):
    code = None
    try:
        change_config(Derived(), ["--help"], command="auxo act")
    except SystemExit as stop:
        code = stop.code
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert code == 0
    for part in ("The first, told otherwise. (default: 3)", "but a comment. (default: 2)", "The last. (default: 5)"):
        assert part in said


def test_make_shape__without_help__reads_no_docstring_of_what_has_a_value():
    (with_help, without) = (make_shape(Base(), {}, shows_names=True, has_help=asked) for asked in (True, False))
    assert with_help.__dataclass_fields__["first"].metadata["help"] == "The first, which takes a line more."
    assert without.__dataclass_fields__["first"].metadata["help"] == ""
