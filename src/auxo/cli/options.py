"""Typed options from dataclasses through tyro, with errors on one line."""

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import tyro

from auxo.errors import ConfigError
from auxo.options import Options as CheckedOptions
from auxo.options import Range

Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(CheckedOptions):
    """How a trained model is loaded and shown images; commands share these under their bare names."""

    device: str = "auto"
    """"auto", "cpu", "cuda", "cuda:1" or "mps"."""
    batch_size: Annotated[int, Range(low=1, high=65536)] = 250
    """Images per forward pass."""
    code: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of what is outside auxo that the run may import; repeat it for several."""
    hub: bool = False
    """Contact the Hugging Face hub for sets that the run names and this machine does not have; sets that you name are
    always fetched."""


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


def _one_line(box: str, command: str) -> ConfigError:
    """Turn tyro's message, framed or in plain ASCII as the terminal is, into an error of one line."""
    lines = [text for line in box.splitlines() if (text := line.strip(" │╭╮╰╯"))]
    is_rule = [re.fullmatch("[─-]{3,}", line) is not None for line in lines]
    first = 2 if is_rule[1:2] == [True] else 1  # below the title
    rule = next((number for number in range(first, len(lines)) if is_rule[number]), len(lines))
    problem = " ".join(lines[first:rule]) or "something else"
    near = re.findall(r"^(--\w[\w.-]*)", "\n".join(lines[rule:]), flags=re.MULTILINE)
    problem = problem[0].lower() + problem[1:].rstrip(".").replace(" .", "")
    meant = f"did you mean {' or '.join(near[:3])}? " if near and "nrecognized" in problem else ""
    return ConfigError(f"options of {command}", problem, f"{meant}see {command} --help")
