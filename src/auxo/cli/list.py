"""``auxo list``: what there is to choose from, each with a line and its source."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import fill
from typing import Literal

from tyro.conf import Positional

from auxo.cli.options import parse_options
from auxo.cli.words import say
from auxo.registry import entries

KINDS = {
    "tasks": "tasks",
    "methods": "methods",
    "pretexts": "pretexts",
    "gates": "gates",
    "fusions": "pretexts.fusions",
    "objectives": "pretexts.pixels",
    "labellers": "pretexts.labellers",
    "losses": "losses",
    "invariance": "losses.invariance",
    "kernels": "losses.kernels",
    "independence": "runs.independence",
    "solvers": "solvers",
    "attacks": "evaluation.attacks",
    "backbones": "backbones",
    "decoders": "layers.decoders",
    "scenarios": "data.scenarios",
}

DESCRIPTION = "Show what there is to choose from."


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``auxo list``."""

    kind: Positional[
        Literal[
            "all",
            "tasks",
            "methods",
            "pretexts",
            "gates",
            "fusions",
            "objectives",
            "labellers",
            "losses",
            "invariance",
            "kernels",
            "independence",
            "solvers",
            "attacks",
            "backbones",
            "decoders",
            "scenarios",
        ]
    ] = "all"
    """What to list."""


def run(words: Sequence[str]) -> None:
    """Print names, lines and sources. Nothing is imported: modules are read as text."""
    options = parse_options(Options, words, command="auxo list", description=DESCRIPTION)
    for kind, package in KINDS.items():
        if options.kind in ("all", kind):
            say(f"{kind}:")
            for _, group in groupby(entries(package).values(), key=lambda entry: entry.module):
                members = list(group)
                say(f"  {', '.join(member.name for member in members)}: {members[0].summary}")
                say(_wrap_lines(members[0].source))
            say()


def _wrap_lines(text: str) -> str:
    """Return indented lines, with names and addresses whole."""
    indent = " " * 6
    return fill(
        text,
        width=110,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
