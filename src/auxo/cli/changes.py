"""Dataclasses changed by words: first the names, which decide what options there are, then the options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from auxo.cli.options import parse_options
from auxo.errors import ConfigError, OptionError
from auxo.options import FamilyOptions, choose_member, family_of, find_range, list_members, list_owners
from auxo.outside import absolute_name
from auxo.runs.tree import Option, Steps, replaced, walk

_Config = TypeVar("_Config")
_Options = TypeVar("_Options")
_Member = TypeVar("_Member", bound=FamilyOptions)


def change_config(
    config: _Config, words: Sequence[str], *, command: str, description: str = "", is_strict: bool = False
) -> _Config:
    """Return a configuration with the options that words give.

    Args:
        config: a tree of frozen dataclasses.
        words: from the command line.
        command: as the user typed it.
        description: first lines of the help.
        is_strict: refuse to drop an option that was set and that the member of a family chosen now does not have.

    Raises:
        ConfigError: an option is unknown, or has a value that it cannot have.
        SystemExit: help was asked for and shown.
    """
    config = _choose_members(config, words, is_strict=is_strict)
    _refuse_others(config, words)
    made: object = parse_options(_make_shape(config), words, command=command, description=description)
    before = {option.steps: option.value for option in walk(config) if not _is_name(option)}
    changes = {o.steps: o.value for o in walk(made) if o.steps in before and o.value != before[o.steps]}
    try:
        return replaced(config, changes)
    except OptionError as error:
        raise _name_flag(config, error) from error


def parse_with_members(
    kind: type[_Options],
    words: Sequence[str],
    *,
    option: str,
    members: Mapping[str, _Member],
    command: str,
    description: str = "",
) -> tuple[_Options, list[_Member]]:
    """Return the options that words give, and those of several members of a family beside them.

    Args:
        kind: a dataclass of options.
        words: from the command line.
        option: that names the members, such as ``attack``; the options of each begin with it and the member's key.
        members: by key, ``--attack.KEY.steps``.
        command: as the user typed it.
        description: first lines of the help.

    Raises:
        ConfigError: an option is unknown, or has a value that it cannot have.
        SystemExit: help was asked for and shown.
    """
    extras: list[tuple[str, Any, Any]] = []
    for number, (key, member) in enumerate(members.items()):
        prefix = f"--{option}.{key}.".replace("_", "-")
        _refuse_others_of(member, words, prefix=prefix, chooser=f"--{option}")
        shape = _make_shape(member, shows_name=False)
        extras.append((f"_{number}", Annotated[shape, tyro.conf.arg(name=f"{option}.{key}")], field(default=shape())))
    whole: Any = make_dataclass(kind.__name__, extras, bases=(kind,), frozen=True, kw_only=True)
    made: Any = parse_options(whole, words, command=command, description=description)
    found: list[_Member] = []
    for number, (key, member) in enumerate(members.items()):
        given = getattr(made, f"_{number}")
        changes = {o.steps: o.value for o in walk(given) if not _is_name(o)}
        try:
            found.append(replaced(member, changes))
        except OptionError as error:
            place = "--" + ".".join((option, key, *error.steps)).replace("_", "-")
            raise ConfigError(f"{place} {error.rule}", error.got, error.fix) from error
    return made, found


def _choose_members(config: _Config, words: Sequence[str], *, is_strict: bool) -> _Config:
    """Return the configuration with those members of families that words name."""
    for steps, member in _list_chosen(config):
        flag = _spell_flag(config, (*steps, "name"))
        name = absolute_name(_find_value(words, flag) or member.name)
        if name != member.name:
            try:
                chosen = choose_member(member, name, is_strict=is_strict)
            except OptionError as error:
                raise _name_flag(config, error.under(*steps)) from error
            # A member may hold families of its own, whose names are looked for in turn.
            return _choose_members(replaced(config, {steps: chosen}), words, is_strict=is_strict)
    return config


def _refuse_others(config: object, words: Sequence[str]) -> None:
    """Refuse an option that the chosen member of a family does not have, and another has."""
    for steps, member in _list_chosen(config):
        prefix = f"{_spell_flag(config, steps)}."
        _refuse_others_of(member, words, prefix=prefix, chooser=f"{prefix}name")


def _refuse_others_of(member: FamilyOptions, words: Sequence[str], *, prefix: str, chooser: str) -> None:
    """Refuse an option after a prefix that a member does not have, and another has."""
    own = {item.name for item in fields(member)}
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        option = flag.removeprefix(prefix).removeprefix("no-").replace("-", "_")
        if not flag.startswith(prefix) or option.partition(".")[0] in own:
            continue
        owners = list_owners(family_of(type(member)), option)
        if owners:
            expected = f"{flag} with {chooser} {' or '.join(owners)} only"
            raise ConfigError(expected, f"{chooser} {member.name}", f"leave it out, or pass {chooser} {owners[0]}")


def _list_chosen(config: object) -> Iterator[tuple[Steps, FamilyOptions]]:
    """Yield the members of families in a configuration, the outer ones first, each with the steps to it."""
    for option in walk(config):
        if isinstance(option.owner, FamilyOptions) and _is_name(option):
            yield option.steps[:-1], option.owner


def _is_name(option: Option) -> bool:
    """Return whether an option says which member of a family its owner is."""
    return isinstance(option.owner, FamilyOptions) and option.field.name == "name"


def _find_value(words: Sequence[str], flag: str) -> str | None:
    """Return the last value that words give an option."""
    found = None
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == flag:
            found = value if equals else next(iter(words[number + 1 :]), None)
    return found


def _make_shape(config: object, *, shows_name: bool = True) -> type:
    """Return a class like that of a dataclass, with its values as defaults, whose instances check nothing.

    So values are checked where the whole path of each is known. The help says ranges, and what names there are.
    """
    kind: type[Any] = type(config)
    hints = get_type_hints(kind, include_extras=True)
    members: list[tuple[str, Any, Any]] = []
    for item in fields(kind):
        value, hint = getattr(config, item.name), hints[item.name]
        if is_dataclass(value):
            shape = _make_shape(value)
            extras = getattr(hint, "__metadata__", ())
            hint, value = Annotated[(shape, *extras)] if extras else shape, shape()
        elif isinstance(config, FamilyOptions) and item.name == "name" and not shows_name:
            hint = Annotated[hint, tyro.conf.Suppress]
        elif isinstance(config, FamilyOptions) and item.name == "name":
            names = ", ".join(list_members(family_of(type(config))))
            hint = _add_hint(hint, f"one of {names} or your file.py:Name")
        elif (limits := find_range(hint)) is not None:
            hint = _add_hint(hint, str(limits))
        members.append((item.name, hint, field(default=value)))
    namespace = {"__post_init__": lambda _self: None, "__doc__": kind.__doc__, "__module__": kind.__module__}
    return make_dataclass(kind.__name__, members, bases=(kind,), namespace=namespace, frozen=True, kw_only=True)


def _add_hint(hint: object, text: str) -> object:
    """Return a type whose help says more beside the default."""
    return Annotated[hint, tyro.conf.arg(help_behavior_hint=lambda default: f"({text}; default: {default})")]


def _name_flag(config: object, error: OptionError) -> ConfigError:
    """Return an error that names the option as it is typed."""
    return ConfigError(f"{_spell_flag(config, error.steps)} {error.rule}", error.got, error.fix)


def _spell_flag(config: object, steps: Steps) -> str:
    """Return how an option is typed, ``--method.optimizer.lr``; fields that are called "" do not count."""
    words: list[str] = []
    for step in steps:
        hint = get_type_hints(type(config), include_extras=True)[step]
        given = (getattr(extra, "name", None) for extra in getattr(hint, "__metadata__", ()))  # tyro.conf.arg(name=...)
        words += [next((name for name in given if isinstance(name, str)), step)]
        config = getattr(config, step)
    return "--" + ".".join(word for word in words if word).replace("_", "-")
