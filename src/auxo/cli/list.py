"""``auxo list``: what there is to choose from, each with a line and its source."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import fill
from typing import Literal
from urllib.parse import quote

from tyro.conf import Positional

from auxo.cli.options import parse_options
from auxo.cli.words import say
from auxo.errors import ConfigError
from auxo.registry import entries, load

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
    "adaptations": "adaptation",
    "backbones": "backbones",
    "decoders": "layers.decoders",
    "scenarios": "data.scenarios",
    "trackers": "runs.trackers",
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
            "adaptations",
            "backbones",
            "decoders",
            "scenarios",
            "trackers",
        ]
    ] = "all"
    """What to list."""
    search: str = ""
    """Show only names with this word in them, of backbones also those of timm, if it is installed; several words, as
    "dino small", must all be there."""


def run(words: Sequence[str]) -> None:
    """Print names, lines and sources. Without a search in timm nothing is imported: modules are read as text."""
    options = parse_options(Options, words, command="auxo list", description=DESCRIPTION)
    parts = options.search.lower().split()
    if options.search and not parts:
        raise ConfigError("a word after --search", repr(options.search), "write for instance --search dino")
    num_found = 0
    for kind, package in KINDS.items():
        if options.kind in ("all", kind):
            shown = [entry for entry in entries(package).values() if all(part in entry.name for part in parts)]
            num_found += len(shown)
            if not shown and parts:
                continue
            say(f"{kind}:")
            for _, group in groupby(shown, key=lambda entry: entry.module):
                members = list(group)
                say(f"  {', '.join(member.name for member in members)}: {members[0].summary}")
                say(_wrap_lines(members[0].source))
            say()
    if parts and options.kind in ("all", "backbones"):
        num_found += _search_timm(options.search)
    if parts and not num_found:
        say(f"nothing has {' and '.join(map(repr, parts))} in its name")


def _search_timm(search: str) -> int:
    """Print the models of timm with a word in their names, and return how many there are."""
    library = load("backbones", "timm")
    try:
        found = library.search(search)
    except ConfigError as error:
        say(f"note: models of timm are not among these: {error}", is_error=True)
        return 0
    if found:
        say("timm, with their published weights by --backbone.pretrained:")
        for model in found:
            size = f"{model.pixels} pixels, built for other sizes too" if model.is_fixed else f"{model.pixels} pixels"
            say(f"  {model.name}: {size}{'' if model.has_weights else ', no weights'}")
    else:
        near = library.suggest_names(search.replace(" ", "_"))
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        say(f"timm: none{hint}")
    say(f"transformers: search https://huggingface.co/models?search={quote(search)} and write hf:OWNER/NAME")
    return len(found)


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
