"""Words of a command line to typed options, or one line that names the nearest option."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
import tyro
from tyro.conf import Positional

from auxo.cli.options import parse_known_options, parse_options
from auxo.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Options of a part."""

    num_steps: int = 3
    """Steps, >= 1."""
    rate: float | None = None
    """Rate per step; by default that of the whole, which has a line of help so long that it must be broken over two."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Options of a command."""

    place: Annotated[Positional[str], tyro.conf.arg(metavar="PLACE")] = "here"
    """Where."""
    kind: Literal["round", "square"] = "round"
    """What kind."""
    names: tuple[str, ...] = ()
    """Names."""
    is_fast: bool = False
    """Whether to hurry."""
    inner: Inner = field(default_factory=Inner)
    """A part."""


@dataclass(frozen=True)
class Needed:
    """Options of which one must be given."""

    place: Annotated[Positional[str], tyro.conf.arg(metavar="PLACE")]
    """Where."""


def parse(text, kind=Whole):
    return parse_options(kind, text.split(), command="auxo act")


def test_parse_options__all_kinds__are_typed():
    words = "there --kind square --names a b --is-fast --inner.num-steps 5 --inner.rate 1e-3"
    inner = Inner(num_steps=5, rate=0.001)
    assert parse(words) == Whole(place="there", kind="square", names=("a", "b"), is_fast=True, inner=inner)


def test_parse_options__none__are_the_defaults():
    assert parse("") == Whole()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("words", "got", "fix"),
    [
        ("--kidn round", "unrecognized options: --kidn, round", "did you mean --kind? "),
        ("--inner.num-step 3", "unrecognized options: --inner.num-step, 3", "did you mean --inner.num-steps? "),
        ("--inner.rat 3", "unrecognized options: --inner.rat, 3", "did you mean --inner.rate? "),
        ("--zzz", "unrecognized options: --zzz", ""),
        ("here there", "unrecognized options: there", ""),
        ("--inner.num-steps", "missing value for argument '--inner.num-steps'. Expected 1 values", ""),
        ("--kind flat", "invalid choice 'flat' for argument '--kind'. Expected one of ('round', 'square')", ""),
        (
            "--inner.num-steps 1.5",
            "error parsing --inner.num-steps: invalid literal for int() with base 10: '1.5'",
            "",
        ),
    ],
)
def test_parse_options__words_that_do_not_fit__are_one_line_whatever_the_terminal(
    monkeypatch, words, got, fix, encoding
):
    class Terminal:
        """A standard output of which only the encoding matters."""

        def __init__(self):
            self.encoding = encoding

        def isatty(self):
            return False

    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(ConfigError) as error:
        parse(words)
    assert str(error.value) == f"expected options of auxo act, got {got}: {fix}see auxo act --help"


def test_parse_options__needed_word_missing__is_named():
    with pytest.raises(
        ConfigError, match=r"got missing from auxo act: PLACE Where\. \(required\): see auxo act --help"
    ):
        parse("", Needed)


def test_parse_options__own_error_of_a_config__passes_through():
    @dataclass(frozen=True)
    class Checked:
        size: int = 1

        def __post_init__(self):
            if self.size < 1:
                raise ConfigError("size >= 1", str(self.size), "enlarge it")

    with pytest.raises(ConfigError, match="expected size >= 1, got 0: enlarge it"):
        parse_options(Checked, ["--size", "0"], command="auxo act")


def test_parse_options__help__shows_every_option_and_leaves_with_0(capsys):
    with pytest.raises(SystemExit) as stop:
        parse_options(Whole, ["--help"], command="auxo act", description="Act.")
    said = capsys.readouterr().out
    assert stop.value.code == 0
    for word in ("auxo act", "Act.", "PLACE", "--kind {round,square}", "--inner.num-steps INT", "Steps, >= 1."):
        assert word in said


def test_parse_known_options__unknown_words__are_given_back_in_order():
    known, rest = parse_known_options(Inner, ["--epochs", "3", "--num-steps", "4", "--data.ood", "a", "b"])
    assert known == Inner(num_steps=4)
    assert rest == ["--epochs", "3", "--data.ood", "a", "b"]


def test_parse_known_options__missing_value__is_one_line():
    with pytest.raises(ConfigError, match="missing value for argument '--num-steps'"):
        parse_known_options(Inner, ["--num-steps"])


@dataclass(frozen=True)
class Coded:
    """Options with files."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")] = "none"
    """A run."""
    code: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Files."""


@pytest.mark.parametrize(
    ("words", "code", "run"),
    [
        ("", (), "none"),
        ("here --code a.py", ("a.py",), "here"),
        ("here --code a.py --code b.py:Name", ("a.py", "b.py:Name"), "here"),
        ("here --code a.py ../b.py:Name.Inner c.py", ("a.py", "../b.py:Name.Inner", "c.py"), "here"),
        ("--code=a.py b.py here", ("a.py", "b.py"), "here"),
        ("--code a.py here", ("a.py",), "here"),
        ("--code anything here", ("anything",), "here"),
    ],
)
def test_parse_options__code__is_repeated_or_followed_by_several(words, code, run):
    assert parse_options(Coded, words.split(), command="x") == Coded(run, code)
    if run == "here":
        known = parse_known_options(Coded, [*words.split(), "--other", "b.py"])
        assert known == (Coded(run, code), ["--other", "b.py"])


@pytest.mark.parametrize("words", ["--code", "here --code"])
def test_parse_options__code_without_a_file__is_one_line(words):
    with pytest.raises(ConfigError, match=r"missing value for argument '--code'"):
        parse_options(Coded, words.split(), command="x")
