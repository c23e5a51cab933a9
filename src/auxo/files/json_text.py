"""The one reader of JSON: what it returns is of the type that was asked for, whatever the text was."""

import json
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import cattrs
from cattrs.errors import BaseValidationError, IterableValidationError, IterableValidationNote

from auxo.errors import AuxoError, CheckpointError

_Kind = TypeVar("_Kind")
_LARGEST = 2**63
_SHOWN = 60
_DEEPEST = 100


def read_json(
    text: str | bytes,
    kind: Callable[..., _Kind],
    *,
    expected: str,
    fix: str,
    error: type[AuxoError] = CheckpointError,
) -> _Kind:
    """Return the value that JSON stands for.

    Args:
        text: of any content; bytes are UTF-8, UTF-16 or UTF-32, perhaps with a byte order mark.
        kind: of the value: a ``TypedDict``, of which further keys are allowed, or a ``list``, ``dict`` or ``tuple``
            with the types of what is in it, ``Any`` for what is not looked at; ``object`` for anything. A whole number
            stands for a float, and nothing else for anything else; whole numbers have at most 64 bits.
        expected: what would have been right, with the place, for the message.
        fix: what the user can do.
        error: what is raised.

    Raises:
        AuxoError: it is no JSON, or a value of another type; the message says where.
    """
    try:
        value = json.loads(text)
    except UnicodeDecodeError as problem:
        raise error(expected, "bytes that are not UTF-8", fix) from problem
    except json.JSONDecodeError as problem:
        place = f" at line {problem.lineno}" if "\n" in problem.doc else ""
        raise error(expected, f"something else{place}", fix) from problem
    except RecursionError as problem:
        raise error(expected, "JSON that is nested too deeply", fix) from problem
    except ValueError as problem:  # a whole number of thousands of digits
        raise error(expected, "a number that is too long", fix) from problem
    if _is_deep(value):  # so that what walks through it later cannot run out of stack
        raise error(expected, "JSON that is nested too deeply", fix)
    return check_json(value, kind, expected=expected, fix=fix, error=error)


def check_json(
    value: object,
    kind: Callable[..., _Kind],
    *,
    expected: str,
    fix: str,
    error: type[AuxoError] = CheckpointError,
) -> _Kind:
    """Return a value from JSON that is of a type; see :func:`read_json`."""
    try:
        if kind is not object:
            _CONVERTER.structure(value, cast("type[Any]", kind))
    except (BaseValidationError, ValueError, TypeError, KeyError, RecursionError) as problem:
        raise error(expected, describe_problem(problem), fix) from problem
    return cast("_Kind", value)


def describe_problem(problem: BaseException) -> str:
    """Return the first thing that is wrong in cattrs' tree of errors, with the way to it."""
    path, problem = find_problem(problem)
    place = f"{'.'.join(path)}: " if path else ""
    if isinstance(problem, KeyError):
        return f"{place}no {problem}"
    said = next(iter(str(problem).splitlines()), type(problem).__name__)
    return place + said.replace("expected a mapping, not", "no object but")


def find_problem(problem: BaseException) -> tuple[list[str], BaseException]:
    """Return the first leaf in cattrs' tree of errors, and the names on the way to it."""
    path: list[str] = []
    while isinstance(problem, ExceptionGroup) and problem.exceptions:
        problem = problem.exceptions[0]
        for note in getattr(problem, "__notes__", ()):
            path.append(str(getattr(note, "name", getattr(note, "index", ""))))
    return [step for step in path if step], problem


def strict_converter(*, allows_more: bool) -> cattrs.Converter:
    """Return a converter that takes no value for one of another type.

    Args:
        allows_more: whether an object may have keys that its type does not have.
    """
    converter = cattrs.Converter(forbid_extra_keys=not allows_more)

    def strictly(expected: type, *accepted: type) -> Callable[[object, type], object]:
        def structure(value: object, _kind: type) -> object:
            if type(value) not in (expected, *accepted):
                raise ValueError(f"{_shorten_value(value)}, no {expected.__name__}")
            if isinstance(value, int) and abs(value) >= _LARGEST:
                raise ValueError(f"{_shorten_value(value)}, no number of 64 bits")
            return expected(value)

        return structure

    def structure_literal(value: object, kind: object) -> object:
        if not isinstance(value, str | int | bool) or value not in get_args(kind):
            raise ValueError(f"{_shorten_value(value)}, none of {', '.join(map(repr, get_args(kind)))}")
        return value

    def structure_members(value: dict[Any, Any], member: object) -> dict[Any, object]:
        made: dict[Any, object] = {}
        for key, item in value.items():
            try:
                made[key] = converter.structure(item, cast("Any", member))
            except Exception as problem:  # whatever a type's hook raises gets its place, and goes on
                note = IterableValidationNote("", key, member)
                problem.__notes__ = [*getattr(problem, "__notes__", []), note]
                raise IterableValidationError("", [problem], list) from problem
        return made

    def structure_list(value: object, kind: object) -> list[object]:
        if not isinstance(value, list):
            raise ValueError(f"{_shorten_value(value)}, no list")
        return [*structure_members(dict(enumerate(value)), get_args(kind)[0]).values()]

    def structure_tuple(value: object, kind: object) -> tuple[object, ...]:
        return tuple(structure_list(value, kind))

    def structure_mapping(value: object, kind: object) -> dict[Any, object]:
        if not isinstance(value, dict):
            raise ValueError(f"{_shorten_value(value)}, no object")
        return structure_members(value, get_args(kind)[1])

    def comes_from(origin: object) -> Callable[[object], bool]:
        return lambda kind: get_origin(kind) is origin

    converter.register_structure_hook_func(comes_from(Literal), structure_literal)
    converter.register_structure_hook_func(comes_from(tuple), structure_tuple)
    converter.register_structure_hook_func(comes_from(list), structure_list)
    converter.register_structure_hook_func(comes_from(dict), structure_mapping)
    for expected, *accepted in ((int,), (float, int), (str,), (bool,)):
        converter.register_structure_hook(expected, strictly(expected, *accepted))
    return converter


def _is_deep(value: object) -> bool:
    """Return whether a value from JSON has more levels than anything that auxo writes."""
    level = [value]
    for _ in range(_DEEPEST):
        inner: list[object] = []
        for item in level:
            inner += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        if not inner:
            return False
        level = inner
    return True


def _shorten_value(value: object) -> str:
    """Return the beginning of a value."""
    text = ascii(value) if not isinstance(value, int) or abs(value) < _LARGEST else "a number of many digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


_CONVERTER = strict_converter(allows_more=True)
