"""What is said before torch is imported: help, and which names and options there are not.

What the table of options does not tell, as of a recipe of the user's or of another pretext, is left to the command.
"""

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from auxo import registry
from auxo.cli.option_table import Flag, OptionTable
from auxo.cli.options import (
    Start,
    asks_help,
    find_value,
    is_option,
    list_values,
    parse_known_options,
    parse_options,
    refuse_options,
    split_words,
)

_FIRST_WORDS = {"train": "RECIPE", "sweep": "RECIPE", "label-quality": "RECIPE", "compare": "SCENARIO"}
_CHOOSERS = ("--attack", "--labeller")  # options that decide which others there are
_SOURCES = {"--config", "--resume", "--code"}
_NAMED = (Flag("--backbone.name", "backbones"), Flag("--data.scenario", "data.scenarios"))
_SHARED = re.compile(r"--(task|data|backbone|training|runtime)\.|--device$")


def answer_early(command: str, words: Sequence[str]) -> None:
    """Show help or refuse what auxo does not have, as far as its table of options tells; else return.

    Args:
        command: such as ``train``.
        words: that follow it.

    Raises:
        ConfigError: there is no such recipe, scenario, member of a family or option.
        SystemExit: help was asked for and shown.
    """
    table, rest = OptionTable.read(), list(words)
    first = rest.pop(0) if command in _FIRST_WORDS and rest and not rest[0].startswith("-") else None
    usage = " ".join(filter(None, ("auxo", command, first or _FIRST_WORDS.get(command))))
    if command not in _FIRST_WORDS:
        _check_options(table, command, rest, usage=usage, needs_words=True)
    elif command == "train":
        _, rest = parse_known_options(Start, rest)
        _check_recipes(table, [first] if first else [], rest, usage=usage)
    elif command == "compare":
        if first is not None:
            registry.find("data.scenarios", first)
        own, shared = split_words(rest, lambda flag: not is_shared(flag))
        _check_options(table, command, own, usage=usage)
        _check_recipes(table, list_values(own, "--methods"), shared, usage="auxo compare")
    else:
        is_recipe = first is not None and not Path(first).is_dir()  # the other is a run
        flags = {"-h", "--help", *(flag.name for flag in table.list_flags(command))}
        own, shared = split_words(rest, lambda flag: flag in flags or flag.startswith(_CHOOSERS))
        if command == "sweep" or first is None:  # the help of label-quality has options of the recipe's labeller
            _check_options(table, command, own, usage=usage)
        if _SOURCES.isdisjoint(shared):
            _check_recipes(table, [first] if first and is_recipe else [], shared, usage=usage)


def is_shared(flag: str) -> bool:
    """Return whether an option of ``auxo compare`` holds for the recipes of all methods."""
    return _SHARED.match(flag) is not None


def _check_recipes(table: OptionTable, recipes: Sequence[str], words: Sequence[str], *, usage: str) -> None:
    """Refuse recipes that there are not, and words that are no options of one."""
    known = {*registry.entries("recipes"), *registry.entries("methods")}  # a method has a recipe of its own
    for recipe in recipes:
        is_file = Path(f"{recipe}.py").is_file() or recipe.endswith(".py")
        if ":" not in recipe and not is_file and recipe not in known:
            raise registry.refuse_name("recipes", recipe, known)
        _check_options(table, f"train {recipe}", words, usage=usage)


def _check_options(
    table: OptionTable, key: str, words: Sequence[str], *, usage: str, needs_words: bool = False
) -> None:
    """Show help, or refuse a word that is no option of a command or recipe.

    Args:
        table: of options.
        key: of the command or recipe; one that the table does not have is left alone.
        words: from the command line.
        usage: as the user typed it.
        needs_words: without any, what is missing is said.
    """
    typed = [word.partition("=")[0].replace("_", "-") for word in words if is_option(word)]
    if key not in table.entries or any(flag.startswith(_CHOOSERS) for flag in typed):
        return
    flags = list(table.list_flags(key))
    has_other = any(flag.is_absent and name.startswith(f"{flag.name}.") for flag in flags for name in typed)
    for flag in (*flags, *_NAMED):
        value = find_value(words, flag.name) if flag.family and flag.name in typed else None
        if value is not None and ":" not in value and not _is_told_later(flag, value):
            registry.find(flag.family, value)
        has_other |= value is not None and flag not in _NAMED and value != flag.value
    names = ["-h", "--help", *(flag.name for flag in flags)]
    unknown = [name for name in dict.fromkeys(typed) if name not in names]
    if has_other:
        return
    if unknown and not asks_help(words):  # before what is missing: it may be what was mistyped
        raise refuse_options(unknown, names, command=usage)
    if asks_help(words) or (needs_words and not words):
        parse_options(table.build_shape(key), words, command=usage, description=table.describe(key))


def _is_told_later(flag: Flag, value: str) -> bool:
    """Whether a backbone's name is chosen by the size of the images, or may be another library's, which knows best."""
    may_be_other = "/" in value or importlib.util.find_spec("timm") is not None
    return flag.family == "backbones" and (value == "auto" or may_be_other)
