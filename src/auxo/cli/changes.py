"""Dataclasses changed by words: first the names, which decide what options there are, then the options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from auxo.cli.options import parse_options
from auxo.errors import ConfigError, OptionError
from auxo.options import FamilyOptions, choose_member, family_of, find_range, list_members, list_owners
from auxo.outside import absolute_name
from auxo.runs.tree import Option, Steps, fold, replaced, walk

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
    tree = _Tree(config, words, is_strict=is_strict)
    for steps, member in tree.members():
        prefix = f"{tree.spell(steps)}."
        _refuse_others(member, words, prefix=prefix, chooser=f"{prefix}name")
    shape = _make_shape(config, tree.choices)
    made: object = parse_options(shape, words, command=command, description=description)
    before = {option.steps: option.value for option in walk(shape()) if not _is_name(option)}
    changes = {o.steps: o.value for o in walk(made) if o.steps in before and o.value != before[o.steps]}
    try:
        return replaced(config, {**tree.choices, **changes})
    except OptionError as error:
        raise tree.name_flag(error) from error


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
                self.choices[steps] = choose_member(self.get(steps), name, is_strict=is_strict)
            except OptionError as error:
                raise self.name_flag(error.under(*steps)) from error

    def get(self, steps: Steps) -> Any:  # noqa: ANN401  (any value of a configuration)
        """Return what stands at the end of steps."""
        value: Any = self.choices.get((), self.config)
        for number, step in enumerate(steps, 1):
            value = self.choices.get(steps[:number], getattr(value, step))
        return value

    def members(self, start: Steps = ()) -> Iterator[tuple[Steps, FamilyOptions]]:
        """Yield the members of families with the steps to them, the outer ones first."""
        exchanged: Steps | None = None
        for option in walk(self.get(start)):
            steps = (*start, *option.steps[:-1])
            is_inside = exchanged is not None and steps[: len(exchanged)] == exchanged
            if not _is_name(option) or steps == start or is_inside:
                continue
            yield steps, self.get(steps)
            if steps in self.choices:
                exchanged = steps
                yield from self.members(steps)

    def spell(self, steps: Steps) -> str:
        """Return how an option is typed, ``--method.optimizer.lr``; fields that are called "" do not count."""
        words: list[str] = []
        for number, step in enumerate(steps):
            hint = get_type_hints(type(self.get(steps[:number])), include_extras=True)[step]
            given = (getattr(extra, "name", None) for extra in getattr(hint, "__metadata__", ()))  # of tyro.conf.arg
            words += [next((name for name in given if isinstance(name, str)), step)]
        return "--" + ".".join(word for word in words if word).replace("_", "-")

    def name_flag(self, error: OptionError) -> ConfigError:
        """Return an error that names the option as it is typed."""
        return ConfigError(f"{self.spell(error.steps)} {error.rule}", error.got, error.fix)

    def _find_others(self, words: Sequence[str]) -> Iterator[tuple[Steps, str]]:
        """Yield where words name another member than there is, and which."""
        for steps, member in self.members():
            name = absolute_name(_find_value(words, self.spell((*steps, "name"))) or member.name)
            if name != member.name:
                yield steps, name


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
        _refuse_others(member, words, prefix=prefix, chooser=f"--{option}")
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


def _make_shape(config: object, choices: Mapping[Steps, object] | None = None, *, shows_name: bool = True) -> type:
    """Return a class like that of a dataclass, with its values as defaults, whose instances check nothing.

    So values are checked where the whole path of each is known. The help says ranges, and what names there are.

    Args:
        config: the dataclass.
        choices: other values of what stands at the end of steps.
        shows_name: whether the name of a family's member is an option where the dataclass is one.
    """

    def shape(owner: object, made: dict[str, Any]) -> type:
        return _shape_owner(owner, made, shows_name=shows_name or owner is not config)

    return fold(config, shape, enter=(choices or {}).get)


def _shape_owner(owner: object, made: dict[str, Any], *, shows_name: bool) -> type:
    """Return such a class for one dataclass, with those that its fields have already."""
    kind: type[Any] = type(owner)
    hints = get_type_hints(kind, include_extras=True)
    members: list[tuple[str, Any, Any]] = []
    for item in fields(kind):
        value, hint = getattr(owner, item.name), hints[item.name]
        if is_dataclass(value):
            inner = made[item.name]
            extras = getattr(hint, "__metadata__", ())
            hint, value = Annotated[(inner, *extras)] if extras else inner, inner()
        elif isinstance(owner, FamilyOptions) and item.name == "name" and not shows_name:
            hint = Annotated[hint, tyro.conf.Suppress]
        elif isinstance(owner, FamilyOptions) and item.name == "name":
            names = ", ".join(list_members(family_of(type(owner))))
            hint = _add_hint(hint, f"one of {names} or your file.py:Name")
        elif (limits := find_range(hint)) is not None:
            hint = _add_hint(hint, str(limits))
        members.append((item.name, hint, field(default=value)))
    namespace = {"__post_init__": lambda _self: None, "__doc__": kind.__doc__, "__module__": kind.__module__}
    return make_dataclass(kind.__name__, members, bases=(kind,), namespace=namespace, frozen=True, kw_only=True)


def _add_hint(hint: object, text: str) -> object:
    """Return a type whose help says more beside the default."""
    return Annotated[hint, tyro.conf.arg(help_behavior_hint=lambda default: f"({text}; default: {default})")]
