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


def fold(config: object, combine: Callable[[Any, dict[str, Any]], _Folded]) -> _Folded:
    """Return what ``combine`` makes of a dataclass, from the inside out.

    Args:
        config: a dataclass.
        combine: is called with every dataclass and its fields by name. A field that is a dataclass, or a tuple of them,
            holds what was made of it; any other its value.
    """

    def visit(value: object) -> object:
        if is_dataclass(value) and not isinstance(value, type):
            return combine(value, {item.name: visit(getattr(value, item.name)) for item in fields(value)})
        return tuple(map(visit, value)) if isinstance(value, tuple) else value

    return cast("_Folded", visit(config))


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
    """
    if () in changes:
        return cast("_Config", changes[()])
    nested: dict[str, dict[Steps, object]] = {}
    for steps, new in changes.items():
        nested.setdefault(steps[0], {})[steps[1:]] = new
    if isinstance(config, tuple):
        members = (_replace_inner(member, str(n), nested.get(str(n), {})) for n, member in enumerate(config))
        return cast("_Config", tuple(members))
    if isinstance(config, FamilyOptions) and "name" in nested:
        config = cast("_Config", choose_member(config, str(nested.pop("name")[()])))
    made = {name: _replace_inner(getattr(config, name), name, deeper) for name, deeper in nested.items()}
    return cast("_Config", replace(cast("Any", config), **made)) if made else config


def _replace_inner(value: object, name: str, changes: Mapping[Steps, object]) -> object:
    """Return a value within a configuration with other values; what is refused names the way to it."""
    try:
        return replaced(value, changes)
    except OptionError as error:
        raise error.under(name) from error
