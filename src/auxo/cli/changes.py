"""Dataclasses changed by words: first the names, which decide what options there are, then the options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, TypeVar, cast

import tyro

from auxo.cli.options import asks_help, find_value, list_values, parse_options
from auxo.cli.shapes import build_options, find_absent, is_name, make_blank, make_shape, spell_field
from auxo.errors import ConfigError, OptionError
from auxo.options import FamilyOptions, choose_member, family_of, find_member, list_members, list_owners
from auxo.registry.outside import absolute_name
from auxo.runs.tree import Steps, replaced, walk

_Options = TypeVar("_Options")
_Member = TypeVar("_Member", bound=FamilyOptions)


def read_options(kind: type[_Options], words: Sequence[str], *, command: str, description: str = "") -> _Options:
    """Return the options that words give; see :func:`change_config`.

    Args:
        kind: a frozen dataclass of options. What has no default must be given.
        words: from the command line.
        command: as the user typed it.
        description: first lines of the help.
    """
    return change_config(make_blank(kind), words, command=command, description=description)


def change_config(
    config: _Options,
    words: Sequence[str],
    *,
    command: str,
    description: str = "",
    is_strict: bool = False,
    chooser: str | None = None,
) -> _Options:
    """Return a configuration with the options that words give.

    Args:
        config: a tree of frozen dataclasses.
        words: from the command line.
        command: as the user typed it.
        description: first lines of the help.
        is_strict: refuse to drop an option that was set and that the member of a family chosen now does not have.
        chooser: the option that has chosen all members of families, so that none has an option ``name``.

    Raises:
        ConfigError: an option is unknown, or has a value that it cannot have.
        SystemExit: help was asked for and shown.
    """
    own, absent = _split_absent(config, words)
    if absent:
        config = change_config(config, own, command=command, description=description, is_strict=is_strict)
        config, words = _fill_absent(config, absent), absent
    tree = _Tree(config, words, is_strict=is_strict)
    for steps, member in tree.members():
        spelled = tree.spell(steps)
        prefix = spelled if spelled == "--" else f"{spelled}."  # its options may stand alone
        _refuse_others(member, words, prefix=prefix, chooser=chooser or tree.spell((*steps, "name")))
    shape = make_shape(config, tree.choices, shows_names=chooser is None, has_help=asks_help(words))
    filled: object = parse_options(shape, words, command=command, description=description)
    try:
        return cast("_Options", build_options(filled))
    except OptionError as error:
        raise tree.name_flag(error) from error


def _split_absent(config: object, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words without, and those with, the options of members of families where there are none yet."""
    tree = _Tree(config, (), is_strict=False)
    prefixes = tuple(f"{tree.spell(option.steps)}." for option in walk(config) if find_absent(option) is not None)
    parts: tuple[list[str], list[str]] = ([], [])
    is_absent = False
    for word in words:
        if word.startswith("--"):
            is_absent = word.replace("_", "-").startswith(prefixes)
        parts[is_absent].append(word)
    return parts


def _fill_absent(config: _Options, words: Sequence[str]) -> _Options:
    """Return the configuration with a member of a family where there is none and words give options of one.

    It is that of the whole configuration under the same name, if there is one: a stage's pretext begins as the run's.
    """
    tree = _Tree(config, (), is_strict=False)
    for option in walk(config):
        family = find_absent(option)
        if family is None:
            continue
        flag = tree.spell(option.steps)
        if not any(word.replace("_", "-").startswith(f"{flag}.") for word in words):
            continue
        member = getattr(config, option.field.name, None)
        if member is None:
            name = find_value(words, f"{flag}.name")
            if name is None:
                raise ConfigError(
                    f"{flag}.name before its options", "none", f"name one of {', '.join(list_members(family))}"
                )
            member = find_member(family, absolute_name(name))()
        config = replaced(config, {option.steps: member})
    return config


class _Tree:
    """A configuration with those members of families that words name, which is not checked as a whole.

    Some members go only with options that other words set, so all are set at once later.

    Args:
        config: what is to be changed.
        words: from the command line.
        is_strict: see :func:`change_config`.

    Attributes:
        choices: the members that were exchanged, by the steps to them.
    """

    def __init__(self, config: object, words: Sequence[str], *, is_strict: bool) -> None:
        self.config = config
        self.choices: dict[Steps, FamilyOptions] = {}
        while (found := next(self._find_others(words), None)) is not None:
            steps, name = found
            try:
                # A member may hold families of its own, whose names are looked for in turn.
                self.choices[steps] = choose_member(self._get_member(steps), name, is_strict=is_strict)
            except OptionError as error:
                raise self.name_flag(error.under(*steps)) from error

    def get(self, steps: Steps) -> object:
        """Return what stands at the end of steps."""
        value: object = self.choices.get((), self.config)
        for number, step in enumerate(steps, 1):
            value = self.choices.get(steps[:number], getattr(value, step))
        return value

    def _get_member(self, steps: Steps) -> FamilyOptions:
        """Return the member of a family at the end of steps."""
        return cast("FamilyOptions", self.get(steps))

    def members(self, start: Steps = ()) -> Iterator[tuple[Steps, FamilyOptions]]:
        """Yield the members of families with the steps to them, the outer ones first."""
        exchanged: Steps | None = None
        for option in walk(self.get(start)):
            steps = (*start, *option.steps[:-1])
            is_inside = exchanged is not None and steps[: len(exchanged)] == exchanged
            if not is_name(option) or steps == start or is_inside:
                continue
            yield steps, self._get_member(steps)
            if steps in self.choices:
                exchanged = steps
                yield from self.members(steps)

    def spell(self, steps: Steps) -> str:
        """Return how an option is typed, ``--method.optimizer.lr``; fields that are called "" do not count."""
        words = [spell_field(type(self.get(steps[:number])), step) for number, step in enumerate(steps)]
        return "--" + ".".join(word for word in words if word).replace("_", "-")

    def name_flag(self, error: OptionError) -> ConfigError:
        """Return an error that names the option as it is typed."""
        return ConfigError(f"{self.spell(error.steps)} {error.rule}", error.got, error.fix)

    def _find_others(self, words: Sequence[str]) -> Iterator[tuple[Steps, str]]:
        """Yield where words name another member than there is, and which."""
        for steps, member in self.members():
            name = absolute_name(find_value(words, self.spell((*steps, "name"))) or member.name)
            if name != member.name:
                yield steps, name


def name_members(words: Sequence[str], option: str, kind: type[FamilyOptions]) -> tuple[str, ...]:
    """Return the members of a family that words give after an option, each once, in their order.

    Args:
        words: from the command line; several names follow each other, or are joined by commas.
        option: such as ``--attack``.
        kind: of the family, all of whose members ``all`` stands for.
    """
    every = list_members(kind)
    named = (own for name in list_values(words, option) for own in (every if name == "all" else (name,)))
    return tuple(dict.fromkeys(named))


def read_with_members(
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
        kind: see :func:`read_options`.
        words: from the command line.
        option: that names the members, such as ``attack``; the options of each begin with it and the member's key.
        members: by key, ``--attack.KEY.steps``.
        command: as the user typed it.
        description: first lines of the help.
    """
    blank = join_members(kind, option=option, members=members)
    made: Any = change_config(blank, words, command=command, description=description, chooser=f"--{option}")
    return made, [getattr(made, f"_{number}") for number in range(len(members))]


def join_members(kind: type[_Options], *, option: str, members: Mapping[str, FamilyOptions]) -> _Options:
    """Return options with those of several members of a family beside them, as :func:`read_with_members` reads them."""
    extras: list[tuple[str, Any, Any]] = []
    for number, (key, member) in enumerate(members.items()):
        hint: Any = Annotated[(type(member), tyro.conf.arg(name=f"{option}.{key}"))]
        extras.append((f"_{number}", hint, field(default=member)))
    namespace = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    whole: Any = make_dataclass(kind.__name__, extras, bases=(kind,), namespace=namespace, frozen=True, kw_only=True)
    blank: _Options = make_blank(whole)
    return blank


def _refuse_others(member: FamilyOptions, words: Sequence[str], *, prefix: str, chooser: str) -> None:
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
