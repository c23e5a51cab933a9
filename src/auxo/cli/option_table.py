"""The options of commands and of auxo's own recipes as a table, from which help is written without importing them.

``options.json`` is written by ``scripts/write_options``; a test holds it equal to the dataclasses.
"""

import functools
import json
import operator
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

import tyro

from auxo.options import FamilyOptions, family_of

PLACE = Path(__file__).with_name("options.json")

_PLAIN: dict[str, Any] = {kind.__name__: kind for kind in (bool, float, int, str)} | {"None": type(None), "...": ...}
_MARKS: dict[str, Any] = {"append": tyro.conf.UseAppendAction, "positional": tyro.conf.Positional}
_ABSENT = "absent"

_Json: TypeAlias = dict[str, Any]


class Flag(NamedTuple):
    """An option as it is typed.

    Args:
        name: with two dashes; ``--`` and the steps to it where a family has no member, whose options would begin so.
        family: the package whose modules it can name, or "".
        value: its default.
        is_absent: it is no option itself.
    """

    name: str
    family: str = ""
    value: object = None
    is_absent: bool = False


@dataclass(frozen=True)
class OptionTable:
    """Options by who has them: ``compare``, or a recipe.

    Args:
        kinds: dataclasses by a name of their own: docstring, and what is said of each field.
        entries: the description of each, the dataclass, and the values of its fields.
    """

    kinds: _Json = field(default_factory=dict)
    entries: _Json = field(default_factory=dict)

    @classmethod
    def read(cls) -> "OptionTable":
        """Return the table that is shipped."""
        return cls(**json.loads(PLACE.read_text(encoding="utf-8")))

    def to_json(self) -> str:
        """Return the table as the file has it."""
        return json.dumps({"kinds": self.kinds, "entries": self.entries}, indent=1) + "\n"

    def add(self, key: str, shape: type, *, description: str) -> None:
        """Note the options of a shape, see :func:`auxo.cli.shapes.make_shape`, which has its help."""
        self.entries[key] = {"description": description, "options": self._note_shape(shape)}

    def describe(self, key: str) -> str:
        """Return the first lines of the help."""
        return str(self.entries[key]["description"])

    def build_shape(self, key: str) -> type:
        """Return a class of which tyro makes the help and the errors that it makes of the shape that was added."""
        return self._build_kind(self.entries[key]["options"])

    def list_flags(self, key: str) -> Iterator[Flag]:
        """Yield the options, also by the other names that they have."""
        yield from self._list_flags(self.entries[key]["options"], "--")

    def _note_shape(self, shape: type) -> _Json:
        """Return the name of a shape's kind and the values of its fields."""
        hints = get_type_hints(shape, include_extras=True)
        about: dict[str, _Json] = {}
        values: _Json = {}
        for item in fields(shape):
            hint = hints[item.name]
            extras = getattr(hint, "__metadata__", ())
            inner = get_args(hint)[0] if extras else hint
            if tyro.conf.Fixed in extras:
                about[item.name] = {_ABSENT: True}
            elif tyro.conf.Suppress not in extras:
                about[item.name] = dict(item.metadata) | _note_extras(extras)
                if is_dataclass(inner):
                    values[item.name] = self._note_shape(cast("type", inner))
                    continue
                about[item.name]["type"] = _spell_type(inner)
                if issubclass(shape, FamilyOptions) and item.name == "name":
                    about[item.name]["family"] = family_of(shape).family
                if item.default is not tyro.MISSING:
                    values[item.name] = item.default
        kind = json.loads(json.dumps({"doc": shape.__doc__, "fields": about}))
        name, number = shape.__qualname__, 1
        while self.kinds.setdefault(name, kind) != kind:  # classes of one name, or one with other members
            number += 1
            name = f"{shape.__qualname__} {number}"
        return {"kind": name, "values": json.loads(json.dumps(values))}

    def _build_kind(self, node: _Json) -> type:
        """Return the class that a node describes."""
        kind = self.kinds[node["kind"]]
        members: list[tuple[str, Any, Any]] = []
        for name, about in kind["fields"].items():
            if _ABSENT in about:
                continue
            value = node["values"].get(name, tyro.MISSING)
            if "type" in about:
                hint, value = _read_type(about["type"]), _freeze_lists(value)
            else:
                hint = self._build_kind(value)
                value = hint()
            hint = Annotated[(hint, _read_extras(about))]
            hint = _MARKS[about["mark"]][hint] if "mark" in about else hint
            metadata = {"help": about["help"]} if "help" in about else {}
            members.append((name, hint, field(default=value, metadata=metadata)))
        namespace = {"__doc__": kind["doc"], "__module__": __name__}
        return make_dataclass("Options", members, namespace=namespace, frozen=True, kw_only=True)

    def _list_flags(self, node: _Json, prefix: str) -> Iterator[Flag]:
        """Yield the options of a node, whose names begin with a prefix."""
        for field_name, about in self.kinds[node["kind"]]["fields"].items():
            name = prefix + about.get("name", field_name).replace("_", "-")
            value = node["values"].get(field_name)
            if _ABSENT in about:
                yield Flag(name, is_absent=True)
            elif "type" not in about:
                yield from self._list_flags(value, name if name == prefix else f"{name}.")
            elif about.get("mark") != "positional":
                negated = ".no-".join(name.rsplit(".", 1)) if "." in name else f"--no-{name[2:]}"
                names = (name, *about.get("aliases", ()), *([negated] if about["type"] == "bool" else []))
                yield from (Flag(each, about.get("family", ""), value) for each in names)


def _spell_type(hint: object) -> object:
    """Return a type as JSON: ``int``, or a list of what it is made of."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _spell_type(inner[0])
    if origin is Literal:
        return ["Literal", *inner]
    if origin is not None:
        name = "Union" if origin in (Union, types.UnionType) else origin.__name__
        return [name, *map(_spell_type, inner)]
    return next(name for name, kind in _PLAIN.items() if kind is hint)


def _read_type(spelled: object) -> object:
    """Return the type that JSON describes."""
    if isinstance(spelled, str):
        return _PLAIN[spelled]
    head, *rest = cast("list[object]", spelled)
    if head == "Literal":
        return Literal[tuple(rest)]
    inner: Any = tuple(map(_read_type, rest))
    return functools.reduce(operator.or_, inner) if head == "Union" else tuple.__class_getitem__(inner)


def _note_extras(extras: tuple[Any, ...]) -> _Json:
    """Return what annotations say to tyro."""
    about: _Json = {}
    for extra in extras:
        marks = [word for word, mark in _MARKS.items() if mark[str].__metadata__[0] is extra]
        about |= {"mark": marks[0]} if marks else {}
        for key in ("name", "metavar", "aliases", "help"):
            value = getattr(extra, key, None)
            about |= {} if value is None else {key: value}
        hint = getattr(extra, "help_behavior_hint", None)
        about |= {} if hint is None else {"hint": hint("{}")}
    return about


def _read_extras(about: Mapping[str, Any]) -> object:
    """Return the annotation for tyro that was noted."""
    given: dict[str, Any] = {key: about[key] for key in ("name", "metavar", "aliases") if key in about}
    if "hint" in about:
        given["help_behavior_hint"] = lambda default: about["hint"].replace("{}", default)
    return tyro.conf.arg(**given)


def _freeze_lists(value: object) -> object:
    """Return a value of JSON with tuples for its lists."""
    return tuple(map(_freeze_lists, value)) if isinstance(value, list) else value
