"""Classes like those of a tree of options, which tyro fills: nothing is checked before the whole tree is there."""

from collections.abc import Mapping
from dataclasses import MISSING, field, fields, is_dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_type_hints

import tyro

from auxo.cli.field_docs import read_field_docs
from auxo.options import FamilyOptions, family_of, find_range, list_members, read_default
from auxo.runs.tree import Option, Steps, fold

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Options = TypeVar("_Options")
_REAL = "_real_class"  # of a shape: the class that it is like


def make_blank(kind: type[_Options]) -> _Options:
    """Return a dataclass with its defaults, unchecked; what has no default is still to be given."""
    blank = object.__new__(kind)
    for item in fields(cast("type[DataclassInstance]", kind)):
        made = read_default(item)
        object.__setattr__(blank, item.name, tyro.MISSING if made is MISSING else made)
    return blank


def make_shape(config: object, choices: Mapping[Steps, object], *, shows_names: bool, has_help: bool) -> type:
    """Return a class like that of a dataclass, with its values as defaults, whose instances check nothing.

    So values are checked where the whole path of each is known. The help says ranges, and what names there are.

    Args:
        config: the dataclass.
        choices: other values of what stands at the end of steps.
        shows_names: whether the names of families' members are options.
        has_help: whether every option has its help, not only those that must be given, which errors describe. Reading
            docstrings takes longer than all else that is done with options.
    """

    def shape(owner: object, made: dict[str, Any]) -> type:
        return _shape_owner(owner, made, shows_names=shows_names, has_help=has_help)

    return fold(config, shape, enter=choices.get)


def _shape_owner(owner: object, made: dict[str, Any], *, shows_names: bool, has_help: bool) -> type:
    """Return such a class for one dataclass, with those that its fields have already."""
    kind: type = type(owner)
    hints = get_type_hints(kind, include_extras=True)
    members: list[tuple[str, Any, Any]] = []
    for item in fields(kind):
        value, hint = getattr(owner, item.name), hints[item.name]
        if is_dataclass(value):
            inner = made[item.name]
            extras = getattr(hint, "__metadata__", ())
            hint, value = Annotated[(inner, *extras)] if extras else inner, inner()
        elif find_absent(Option((item.name,), owner, item, value)) is not None:
            hint = Annotated[object, tyro.conf.Suppress, tyro.conf.Fixed]
        elif isinstance(owner, FamilyOptions) and item.name == "name" and not shows_names:
            hint = Annotated[hint, tyro.conf.Suppress]
        elif isinstance(owner, FamilyOptions) and item.name == "name":
            names = ", ".join(list_members(family_of(type(owner))))
            hint = _add_hint(hint, f"one of {names} or your file.py:Name")
        elif (limits := find_range(hint)) is not None:
            hint = _add_hint(hint, str(limits))
        is_told = has_help or value is tyro.MISSING
        text = read_field_docs(kind).get(item.name) if is_told else ""  # tyro reads the source where there is none
        members.append((item.name, hint, field(default=value, metadata={} if text is None else {"help": text})))
    namespace = {
        "__post_init__": lambda _self: None,
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
        _REAL: kind,
    }
    return make_dataclass(kind.__name__, members, bases=(kind,), namespace=namespace, frozen=True, kw_only=True)


def _add_hint(hint: object, text: str) -> object:
    """Return a type whose help says more beside the default."""
    return Annotated[hint, tyro.conf.arg(help_behavior_hint=lambda default: f"({text}; default: {default})")]


def build_options(filled: object) -> object:
    """Return the options that an instance of a shape has been filled with, checked.

    Raises:
        OptionError: a value is not allowed; it has the whole way to the option.
        ConfigError: values do not go together.
    """

    def build(owner: object, made: dict[str, Any]) -> object:
        kind = vars(type(owner)).get(_REAL)
        return owner if kind is None else kind(**{item.name: made[item.name] for item in fields(kind) if item.init})

    return fold(filled, build)


def is_name(option: Option) -> bool:
    """Return whether an option says which member of a family its owner is."""
    return isinstance(option.owner, FamilyOptions) and option.field.name == "name"


def find_absent(option: Option) -> type[FamilyOptions] | None:
    """Return the family of which an option could be a member, and is none."""
    if option.value is not None:
        return None
    hint = get_type_hints(type(option.owner))[option.field.name]
    kinds = [kind for kind in get_args(hint) if isinstance(kind, type) and issubclass(kind, FamilyOptions)]
    return kinds[0] if kinds else None


def spell_field(kind: type, name: str) -> str:
    """Return what a field is called at the command line; "" where its own fields stand alone."""
    hint = get_type_hints(kind, include_extras=True)[name]
    given = (getattr(extra, "name", None) for extra in getattr(hint, "__metadata__", ()))  # of tyro.conf.arg
    return next((word for word in given if isinstance(word, str)), name)
