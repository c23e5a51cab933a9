"""What the values of an option are drawn from, as a word: ``log:1e-4,0.1``, ``int:5,20``, ``choice:sgd,adamw``."""

import math
import re
from dataclasses import dataclass
from typing import TypeAlias

from auxo.errors import ConfigError
from auxo.sweep.fields import Field, Value

SAMPLERS = "uniform:LOW,HIGH, log:LOW,HIGH, around:FACTOR, int:LOW,HIGH or choice:A,B,..."


@dataclass(frozen=True)
class Interval:
    """Real numbers between two, drawn evenly by themselves or by their logarithms.

    Args:
        low: the smallest.
        high: the largest.
        is_log: whether logarithms are even.
    """

    low: float
    high: float
    is_log: bool = False

    def __str__(self) -> str:
        return f"{'log' if self.is_log else 'uniform'}:{self.low!r},{self.high!r}"

    @property
    def values(self) -> tuple[Value, ...]:
        """The ends."""
        return self.low, self.high

    def has(self, value: Value) -> bool:
        """Return whether a value may be drawn."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Integers:
    """Whole numbers from one to another, all equally likely.

    Args:
        low: the smallest.
        high: the largest.
    """

    low: int
    high: int

    def __str__(self) -> str:
        return f"int:{self.low},{self.high}"

    @property
    def values(self) -> tuple[Value, ...]:
        """The ends."""
        return self.low, self.high

    def has(self, value: Value) -> bool:
        """Return whether a value may be drawn."""
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of some values, all equally likely.

    Args:
        values: two or more.
    """

    values: tuple[Value, ...]

    def __str__(self) -> str:
        return "choice:" + ",".join(map(spelled, self.values))

    def has(self, value: Value) -> bool:
        """Return whether a value may be drawn."""
        return value in self.values


Sampler: TypeAlias = Interval | Integers | Choice


def parse_sampler(text: str, field: Field) -> Sampler:
    """Return the sampler that a word describes.

    * ``uniform:LOW,HIGH`` and ``log:LOW,HIGH``: real numbers;
    * ``around:FACTOR``: real numbers from the run's own value over FACTOR to that times FACTOR, even by logarithm;
    * ``int:LOW,HIGH``: whole numbers, both ends included;
    * ``choice:A,B,...``: any of these, ``none`` where the option may be left out.

    Args:
        text: the word.
        field: the option that it is for.

    Raises:
        ConfigError: it is no sampler, or not one for this option.
    """
    kind, colon, rest = text.partition(":")
    parts = [part.strip() for part in rest.split(",")]
    if not colon or kind not in _PARSERS:
        spelled = re.fullmatch(r"(\w+)\((.*)\)", text)
        fix = f"write {spelled[1]}:{spelled[2]}" if spelled and spelled[1] in _PARSERS else "choose one of these"
        raise ConfigError(f"a sampler for {field.path}: {SAMPLERS}", repr(text), fix)
    return _PARSERS[kind](text, parts, field)


def _parse_interval(text: str, parts: list[str], field: Field) -> Sampler:
    """Return a range of real numbers."""
    _require_number(field, float, text)
    low, high = _parse_ends(text, parts, field)
    is_log = text.startswith("log:")
    if is_log and low <= 0:
        raise ConfigError(f"LOW > 0 in log:LOW,HIGH for {field.path}", text, "use uniform:LOW,HIGH to begin at 0")
    return Interval(low, high, is_log)


def _parse_around(text: str, parts: list[str], field: Field) -> Sampler:
    """Return a range of real numbers around the value of the run."""
    _require_number(field, float, text)
    factor = _parse_number(parts[0]) if len(parts) == 1 else math.nan
    if not 1 < factor < math.inf:
        raise ConfigError(f"around:FACTOR with FACTOR > 1 for {field.path}", text, "write for instance around:10")
    if not isinstance(field.value, int | float) or field.value <= 0:
        got = f"{spelled(field.value)}, the run's own"
        raise ConfigError(f"a value > 0 of {field.path} to search around", got, "use log:LOW,HIGH or uniform:LOW,HIGH")
    return Interval(field.value / factor, field.value * factor, is_log=True)


def _parse_integers(text: str, parts: list[str], field: Field) -> Sampler:
    """Return a range of whole numbers."""
    _require_number(field, int, text)
    low, high = _parse_ends(text, parts, field)
    if not (low.is_integer() and high.is_integer()):
        raise ConfigError(f"whole numbers in int:LOW,HIGH for {field.path}", text, "write for instance int:5,20")
    return Integers(int(low), int(high))


def _parse_choice(text: str, parts: list[str], field: Field) -> Sampler:
    """Return a choice among values of the option's type."""
    values = tuple(_parse_value(part, text, field) for part in parts)
    if len(set(values)) < max(2, len(values)):
        fix = "name two or more, each once"
        raise ConfigError(f"different values in choice:A,B,... for {field.path}", text, fix)
    return Choice(values)


_PARSERS = {
    "uniform": _parse_interval,
    "log": _parse_interval,
    "around": _parse_around,
    "int": _parse_integers,
    "choice": _parse_choice,
}


def _require_number(field: Field, kind: type, text: str) -> None:
    """Refuse a range of numbers for an option of another type."""
    if field.kind is kind and not field.allowed:
        return
    proper = {int: "int:LOW,HIGH or choice:A,B", float: "uniform:LOW,HIGH or log:LOW,HIGH"}
    fix = f"use {proper.get(field.kind, 'choice:A,B') if not field.allowed else 'choice:A,B'}"
    raise ConfigError(f"a sampler for {field.path}, {_describe_option(field)}", text, fix)


def _parse_ends(text: str, parts: list[str], field: Field) -> tuple[float, float]:
    """Return the ends of a range."""
    low, high = (_parse_number(part) for part in parts) if len(parts) == 2 else (math.nan, math.nan)
    if not -math.inf < low < high < math.inf:
        kind = text.partition(":")[0]
        raise ConfigError(
            f"{kind}:LOW,HIGH with LOW < HIGH for {field.path}", text, "give two numbers, the lower first"
        )
    return low, high


def _parse_number(text: str) -> float:
    """Return a number, or NaN of anything else."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _parse_value(part: str, text: str, field: Field) -> Value:
    """Return the value that a part of a choice spells."""
    if field.is_optional and part.lower() == "none":
        return None
    known: dict[str, Value] = {spelled(value): value for value in field.allowed}
    if field.kind is bool:
        known = {"true": True, "false": False}
    if known:
        if (word := part.lower() if field.kind is bool else part) in known:
            return known[word]
    elif field.kind is str and part:
        return part
    elif field.kind in (int, float):
        number = _parse_number(part)
        if math.isfinite(number) and (field.kind is float or number.is_integer()):
            return int(number) if field.kind is int else number
    fix = f"choose among {', '.join(known)}" if known else "correct it"
    raise ConfigError(f"values of {field.path}, {_describe_option(field)}", f"{part!r} in {text}", fix)


def _describe_option(field: Field) -> str:
    """Return what an option holds, in words."""
    if field.allowed:
        return f"one of {', '.join(map(spelled, field.allowed))}"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[field.kind]


def spelled(value: Value) -> str:
    """Return a value as a choice spells it."""
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
