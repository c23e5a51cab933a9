"""Typed options from dataclasses through tyro, with errors on one line."""

import contextlib
import difflib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import tyro

from auxo.errors import ConfigError
from auxo.options import Options as CheckedOptions
from auxo.options import Range

Options = TypeVar("Options")
_ALIKE = 0.6  # as difflib has it
_AS_ALIKE = 0.03  # of names that are all called


@dataclass(frozen=True, kw_only=True)
class ModelOptions(CheckedOptions):
    """How a trained model is loaded and shown images; commands share these under their bare names."""

    device: str = "auto"
    """"auto", "cpu", "cuda", "cuda:1" or "mps"."""
    batch_size: Annotated[int, Range(low=1, high=65536)] = 250
    """Images per forward pass."""
    code: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of what is outside auxo that the run may import; repeat it for several."""
    moved: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """OLD=NEW: a file or folder that the run names is at another place now; repeat it for several. What is read there
    is compared with what the run recorded. Places are remembered beside the run."""
    hub: bool = False
    """Contact the Hugging Face hub for sets that the run names and this machine does not have; sets that you name are
    always fetched."""


@dataclass(frozen=True)
class Start:
    """Where a run of ``auxo train`` comes from and goes to; all of its other options are the recipe's."""

    config: str | None = None
    resume: str | None = None
    code: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    moved: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    out: str | None = None


def parse_options(kind: type[Options], words: Sequence[str], *, command: str, description: str = "") -> Options:
    """Return the options that ``words`` give.

    Args:
        kind: a dataclass; its fields become options with dotted names, their docstrings the help.
        words: from the command line.
        command: as the user typed it, for instance ``auxo train ossl``.
        description: first lines of the help.

    Raises:
        ConfigError: an unknown option, a missing value or one of the wrong type.
        SystemExit: help was asked for and shown.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=_repeat_code(words), prog=command, description=description)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _one_line(said.getvalue(), command) from None


def parse_known_options(kind: type[Options], words: Sequence[str]) -> tuple[Options, list[str]]:
    """Return the options of ``kind`` and the words that are not among them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=_repeat_code(words), return_unknown_args=True, add_help=False)
    except SystemExit:
        raise _one_line(said.getvalue(), "auxo train") from None


def _repeat_code(words: Sequence[str]) -> list[str]:
    """Return the words with ``--code`` before each of several files that follow it; what else follows is left alone."""
    spread: list[str] = []
    is_code = False
    for word in words:
        is_file = is_code and re.fullmatch(r"[^-].*\.py(:[\w.]*)?", word) is not None
        if is_file and spread[-1] != "--code":
            spread.append("--code")
        is_code = is_file or word == "--code" or word.startswith("--code=")
        spread.append(word)
    return spread


def find_value(words: Sequence[str], flag: str) -> str | None:
    """Return the last value that words give an option."""
    found = None
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == flag:
            found = value if equals else next(iter(words[number + 1 :]), None)
    return found


def list_values(words: Sequence[str], flag: str) -> list[str]:
    """Return the values that words give an option, which follow it or are joined by commas."""
    values: list[str] = []
    is_given = False
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            is_given, word = name.replace("_", "-") == flag, value if equals else ""
        values += word.split(",") if is_given else []
    return [value.strip() for value in values if value.strip()]


def split_words(words: Sequence[str], is_own: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Return the words that are a command's own, and the others, which are for recipes.

    Args:
        words: from the command line; what follows an option is its value.
        is_own: tells it of an option, such as ``--out``.
    """
    own: list[str] = []
    others: list[str] = []
    current = own
    for word in words:
        if is_option(word):
            current = own if is_own(word.partition("=")[0].replace("_", "-")) else others
        current.append(word)
    return own, others


def is_option(word: str) -> bool:
    """Return whether a word is an option, and no value, which may be a negative number."""
    return re.match(r"-(?![\d.])", word) is not None


def asks_help(words: Sequence[str]) -> bool:
    """Return whether help is among the words."""
    return not {"-h", "--help"}.isdisjoint(words)


def refuse_options(unknown: Sequence[str], known: Sequence[str], *, command: str) -> ConfigError:
    """Describe options that there are not, with those that may have been meant.

    Args:
        unknown: as they were typed, at least one.
        known: all that there are.
        command: as the user typed it.
    """
    near: list[str] = []
    for word in unknown:
        likeness = {name: difflib.SequenceMatcher(None, word, name).ratio() for name in known}
        best = max(likeness.values(), default=0.0)
        near += [name for name in known if likeness[name] >= max(_ALIKE, best - _AS_ALIKE)]
    meant = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
    got = f"unrecognized options: {', '.join(unknown)}"
    return ConfigError(f"options of {command}", got, f"{meant}see {command} --help")


def _one_line(box: str, command: str) -> ConfigError:
    """Turn tyro's message, framed or in plain ASCII as the terminal is, into an error of one line."""
    lines = [text for line in box.splitlines() if (text := line.strip(" │╭╮╰╯"))]
    is_rule = [re.fullmatch("[─-]{3,}", line) is not None for line in lines]
    first = 2 if is_rule[1:2] == [True] else 1  # below the title
    rule = next((number for number in range(first, len(lines)) if is_rule[number]), len(lines))
    problem = " ".join(lines[first:rule]) or "something else"
    # An option with a short form is told by its whole name, which tyro puts last.
    near = re.findall(r"^(?:--[\w-]+, (?=--\w+\.))?(--\w[\w.-]*)", "\n".join(lines[rule:]), flags=re.MULTILINE)
    problem = problem[0].lower() + problem[1:].rstrip(".").replace(" .", "")
    meant = f"did you mean {' or '.join(near[:3])}? " if near and "nrecognized" in problem else ""
    return ConfigError(f"options of {command}", problem, f"{meant}see {command} --help")
