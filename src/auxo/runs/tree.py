"""The one walker over a configuration: a tree of frozen dataclasses and tuples of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from auxo.errors import OptionError
from auxo.options import FamilyOptions, choose_member

Steps: TypeAlias = tuple[str, ...]
"""Names of fields on the way from a configuration to a value in it; a member of a tuple counts by its number."""

_Folded = TypeVar("_Folded")
_Config = TypeVar("_Config")


class Option(NamedTuple):
    """A value in a configuration that is no dataclass itself.

    Args:
        steps: on the way to it.
        owner: the dataclass that it is a field of.
        field: of the owner.
        value: what it is.
    """

    steps: Steps
    owner: object
    field: Field[Any]
    value: object


def fold(
    config: object,
    combine: Callable[[Any, dict[str, Any]], _Folded],
    *,
    enter: Callable[[Steps, object], object] = lambda _steps, value: value,
) -> _Folded:
    """Return what ``combine`` makes of a dataclass, from the inside out.

    Args:
        config: a dataclass, or a tuple of them.
        combine: is called with every dataclass and its fields by name. A field that is a dataclass, or a tuple of them,
            holds what was made of it; any other its value. An error of an option gets the way to it.
        enter: is called with every value and the steps to it, from the outside in, and returns what to go on with.
    """

    def visit(steps: Steps, value: object) -> object:
        value = enter(steps, value)
        if is_dataclass(value) and not isinstance(value, type):
            return combine(
                value, {item.name: step(steps, item.name, getattr(value, item.name)) for item in fields(value)}
            )
        if isinstance(value, tuple):
            made = tuple(step(steps, str(number), member) for number, member in enumerate(value))
            return made if any(new is not old for new, old in zip(made, value, strict=True)) else value
        return value

    def step(steps: Steps, name: str, value: object) -> object:
        try:
            return visit((*steps, name), value)
        except OptionError as error:
            raise error.under(name) from error

    return cast("_Folded", visit((), config))


def walk(config: object) -> Iterator[Option]:
    """Yield every option of a configuration, in the order of the fields."""

    def combine(owner: object, made: dict[str, Any]) -> list[Option]:
        options: list[Option] = []
        for item in fields(cast("Any", owner)):
            value = getattr(owner, item.name)
            if is_dataclass(value):
                options += [option._replace(steps=(item.name, *option.steps)) for option in made[item.name]]
            elif isinstance(value, tuple) and value and all(map(is_dataclass, value)):
                for number, inner in enumerate(made[item.name]):
                    options += [o._replace(steps=(item.name, str(number), *o.steps)) for o in inner]
            else:
                options.append(Option((item.name,), owner, item, value))
        return options

    yield from fold(config, combine)


def replaced(config: _Config, changes: Mapping[Steps, object]) -> _Config:
    """Return a configuration with other values, all set at once, so that each dataclass checks itself once.

    Args:
        config: a dataclass, or a tuple of them.
        changes: new values by the steps to them. A new name of a family's member is set before its options.

    Raises:
        ConfigError: a dataclass refuses them.
        ValueError: steps lead nowhere.
    """
    waiting = dict(changes)

    def enter(steps: Steps, value: object) -> object:
        value = waiting.pop(steps, value)
        name = waiting.pop((*steps, "name"), None) if isinstance(value, FamilyOptions) else None
        return value if name is None else choose_member(cast("FamilyOptions", value), str(name))

    def rebuild(owner: object, made: dict[str, Any]) -> object:
        new = {name: value for name, value in made.items() if value is not getattr(owner, name)}
        return replace(cast("Any", owner), **new) if new else owner

    made = cast("_Config", fold(config, rebuild, enter=enter))
    if waiting:
        raise ValueError(f"expected steps within the configuration, got {', '.join(map('.'.join, waiting))}")
    return made
