"""Options: ranges that are said once, and families of which each member brings options of its own.

A family is what can be chosen by a name: gates, pretexts, losses. To make one::

    @dataclass(frozen=True, kw_only=True)
    class GateConfig(FamilyOptions):              # in auxo/gates/_config.py; re-exported by the package
        family = "gates"                          # the package whose modules are the members
        strength: Annotated[float, Range(low=0)] = 1.0
        '''A field here is an option of every member.'''

        @abstractmethod
        def build(self, ...) -> AbstractGate: ...

    class LearnedGate(AbstractGate):              # in auxo/gates/learned.py: the module's name is the member's
        @dataclass(frozen=True, kw_only=True)
        class Config(GateConfig):                 # final, nested, always called Config
            entropy: Annotated[float, Range(low=0)] = 1.0
            '''A field here is an option of this member alone.'''

            def build(self, ...) -> "LearnedGate": ...

A member that is nothing but its options, as a solver is, may be the dataclass itself, without a class around it.
``name`` follows from the module (``learned``), or is ``file.py:Class`` for one of the user's own. It is never given in
Python, where ``find_member(GateConfig, "learned")(entropy=0.5)`` is a way from a name to its options. What has a member
as an option says ``gate: GateConfig = field(default_factory=LearnedGate.Config)``. Nothing else is needed:
``--gate.name learned --gate.entropy 0.5`` at the command line, ``{"name": "learned", "entropy": 0.5}`` in JSON, and
``gate.name=choice:learned,uniform`` in a sweep follow.

A dataclass of options that is no member of a family derives from :class:`Options`. One that has checks of its own
begins its ``__post_init__`` with ``super().__post_init__()``, and raises :class:`auxo.errors.OptionError`, which names
the option with its whole path wherever that is known.
"""

import functools
import math
import sys
import types
from abc import ABC
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from inspect import isabstract
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from auxo import registry
from auxo.errors import ConfigError, OptionError
from auxo.registry.outside import is_outside, load_outside

_INSIDE = "Config"
_LARGEST = 2**63
_UNNAMED = 1e38  # what float32 holds says nothing to a reader
MOST_SEED = _LARGEST - 1
"""The largest seed: what 64 bits with a sign hold."""


LATER: Mapping[str, bool] = types.MappingProxyType({"is_later": True})
"""Metadata of an option that configurations were written without: at its default it is no part of their digests."""
_Member = TypeVar("_Member", bound="FamilyOptions")


@dataclass(frozen=True)
class Range:
    """What values a number can have; stands in an annotation, ``Annotated[float, Range(low=0, below=1)]``.

    Args:
        low: smallest value.
        high: largest value; give ``math.inf`` to allow it.
        above: a value that all are larger than.
        below: a value that all are smaller than; without ``high`` and ``below`` all are finite.

    Example:
        >>> str(Range(low=1)), str(Range(above=0, high=1)), 0.0 in Range(above=0)
        ('>= 1', 'in (0, 1]', False)
    """

    low: int | float | None = None
    high: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None

    def __contains__(self, value: int | float) -> bool:
        low, high = self._find_ends()
        is_over = value > low if self.low is None else value >= low
        return is_over and (value < high if self.high is None else value <= high)

    def __str__(self) -> str:
        low, high = self._find_ends()
        if high >= _UNNAMED:
            return f"{'>' if self.low is None else '>='} {low:g}"
        if low == -math.inf:
            return f"{'<' if self.high is None else '<='} {high:g}"
        return f"in {'(' if self.low is None else '['}{low:g}, {high:g}{')' if self.high is None else ']'}"

    def describe(self, value: int | float) -> str:
        """Return the range in words that say what is wrong with a value outside."""
        high = self._find_ends()[1]
        if _UNNAMED <= high < math.inf and value > high:
            return f"{self}, and at most {high:g}"
        is_open = self.high is None and self.below is None
        return f"{self} and finite" if is_open and not math.isfinite(value) else str(self)

    def _find_ends(self) -> tuple[int | float, int | float]:
        """Return the smallest and the largest value, whether they are taken or not."""
        lows, highs = (self.low, self.above, -math.inf), (self.high, self.below, math.inf)
        low, high = (next(end for end in ends if end is not None) for ends in (lows, highs))
        return low, high


class _Fault(NamedTuple):
    """What a value should have been, and what it is."""

    rule: str
    got: str
    fix: str


def find_range(hint: object) -> Range | None:
    """Return the range in a type, also that of the members of a tuple; ``None`` where there is none."""
    own = [extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Range)]
    inner = (find_range(part) for part in get_args(hint) if not isinstance(part, Range))
    return own[0] if own else next((found for found in inner if found is not None), None)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of dataclasses of options: a value out of its range, or that is none of its choices, is refused."""

    def __post_init__(self) -> None:
        kind: type = type(self)
        for name, hint in _find_hints(kind).items():
            fault = _find_fault(hint, getattr(self, name))
            if fault is not None:
                raise OptionError(name, fault.rule, fault.got, fault.fix)


@dataclass(frozen=True, kw_only=True)
class FamilyOptions(Options, ABC):
    """Base of the options of a family's members; see the head of this module."""

    family: ClassVar[str] = ""
    """The package whose modules are the members, such as ``gates``."""

    # A field, so that whatever lists options lists it, too. Its value is an attribute of the class.
    name: str = field(init=False, default="")
    """Which one; it decides which options there are. "auxo list" describes them."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" in vars(cls) or "family" in vars(cls):  # a class of the command line's, or the family itself
            return
        package, _, name = cls.__module__.rpartition(".")
        if package == f"auxo.{cls.family}":
            cls.name = name
        else:
            place = getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__
            cls.name = f"{Path(place).resolve()}:{cls.__qualname__.removesuffix(f'.{_INSIDE}')}"


def family_of(kind: type[FamilyOptions]) -> type[FamilyOptions]:
    """Return the abstract class of the options of all members of a family, of one of them or itself."""
    return next(each for each in kind.__mro__ if "family" in vars(each))


def find_member(family: type[_Member], name: str) -> type[_Member]:
    """Return the options of a member.

    Args:
        family: the abstract class of options.
        name: of a module of the family, or ``file.py:Class`` for a class of the user's with its ``Config``.

    Raises:
        ConfigError: there is no such member, or its file does not run.
    """
    if is_outside(name):
        owner = load_outside(name, object)
        found = owner if issubclass(owner, family) else load_outside(f"{name}.{_INSIDE}", family)
        if isabstract(found):
            lacks = ", ".join(sorted(found.__abstractmethods__))
            raise ConfigError(f"whole options of {name}", f"some without {lacks}", "define them there")
        return found
    module = registry.load(family.family, name)
    owners = [item for item in vars(module).values() if isinstance(item, type) and item.__module__ == module.__name__]
    kinds = (kind for owner in owners for kind in (owner, vars(owner).get(_INSIDE)))
    return next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, family))


def list_members(family: type[FamilyOptions]) -> tuple[str, ...]:
    """Return the names of auxo's own members; nothing is imported."""
    return tuple(registry.entries(family.family))


def list_owners(family: type[FamilyOptions], option: str) -> list[str]:
    """Return the names of auxo's own members that have an option."""
    return [name for name in list_members(family) if option in _list_own(find_member(family, name))]


def choose_member(current: _Member, name: str, *, is_strict: bool = False) -> _Member:
    """Return the options of another member of the same family.

    Options that both have under the same name and type keep their values, unless those are the old member's defaults.
    All others have the new one's defaults.

    Args:
        current: options of a member.
        name: of the other, see :func:`find_member`.
        is_strict: refuse to drop a value that is no default.

    Raises:
        ConfigError: there is no such member.
        OptionError: an option that the other does not have differs from its default.
    """
    kind = find_member(family_of(type(current)), name)
    if kind is type(current):
        return current
    old, new = _list_own(type(current)), _list_own(kind)
    changed = {key: value for key, item in old.items() if (value := getattr(current, key)) != read_default(item)}
    hints = {each: get_type_hints(each, include_extras=True) for each in (kind, type(current))}
    kept = {key for key in changed if key in new and hints[kind][key] == hints[type(current)][key]}
    lost = [key for key in changed if key not in kept]
    if is_strict and lost:
        key, default = lost[0], read_default(old[lost[0]])
        rule, fix = f"{default} with the name {name}, which has no such option", "set it so in the config first"
        raise OptionError(key, rule, str(changed[key]), fix)
    return cast("_Member", kind(**{key: changed[key] for key in kept}))


def _list_own(kind: type[FamilyOptions]) -> dict[str, Field[Any]]:
    """Return the fields that can be given, by name."""
    return {item.name: item for item in fields(kind) if item.init}


def read_default(item: Field[Any]) -> object:
    """Return a field's default, or that there is none."""
    return item.default if item.default_factory is MISSING else item.default_factory()


@functools.cache
def _find_hints(kind: type) -> dict[str, object]:
    """Return the types of a dataclass's fields, by name."""
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: hints[item.name] for item in fields(kind)}


def _find_fault(hint: object, value: object) -> _Fault | None:
    """Return what is wrong with a value, as far as ranges and choices say."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        for extra in inner[1:]:
            if isinstance(extra, Range) and isinstance(value, int | float) and value not in extra:
                return _Fault(extra.describe(value), str(value), "choose a value in that range")
        return _find_fault(inner[0], value)
    if origin is Literal:
        return None if value in inner else _Fault(f"of {', '.join(map(str, inner))}", repr(value), "choose one of them")
    if origin in (Union, types.UnionType):
        faults = [_find_fault(part, value) for part in inner if part is not type(None)]
        return None if value is None or None in faults else faults[-1]
    if origin is tuple and isinstance(value, tuple):
        found = (_find_fault(inner[0], each) for each in value)
        return next((fault for fault in found if fault is not None), None)
    return _find_no_number(value)


def _find_no_number(value: object) -> _Fault | None:
    """Return what is wrong with a number whatever its range: nothing computes with it."""
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return _Fault("of at most 64 bits", f"a number of {len(f'{abs(value):x}') * 4} bits", "choose a smaller one")
    if isinstance(value, float) and math.isnan(value):
        return _Fault("a number", "nan", "choose one")
    return None
