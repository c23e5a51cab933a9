"""Runs as files: recipes in Python, resolved configurations in JSON."""

import difflib
import functools
import hashlib
import importlib
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any, Literal, cast, get_args, get_origin

import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

import auxo
from auxo import registry
from auxo.errors import ConfigError
from auxo.experiment import ExperimentConfig
from auxo.interfaces import AbstractMethod, MethodConfig

__all__ = ["config_digest", "from_json", "load_recipe", "to_json"]

FORMAT = 1


def load_recipe(name: str) -> ExperimentConfig:
    """Return the run that a recipe describes.

    Args:
        name: a method of auxo (``ossl``), whose recipe is in its own module or, for a run of several methods in stages,
            in ``auxo.recipes``; a function in a file (``my_method.py:recipe``; ``recipe`` may be left out) or
            a function in an importable module (``auxo.methods.ossl:cifar10_released``).

    Raises:
        ConfigError: there is no such recipe, its file does not run, or it returns something else.
    """
    place, _, function = name.partition(":")
    if place.endswith(".py"):
        module = _import_file(Path(place))
    elif ":" in name:
        module = _import_module(place)
    else:
        if name not in registry.entries("methods") and Path(f"{name}.py").is_file():
            raise ConfigError("a method of auxo", repr(name), f"did you mean {name}.py?")
        module = registry.load("recipes" if name in registry.entries("recipes") else "methods", name)
    make = getattr(module, function or "recipe", None)
    if not callable(make):
        known = ", ".join(key for key in vars(module) if callable(getattr(module, key)) and not key.startswith("_"))
        raise ConfigError(f"a function {function or 'recipe'!r} in {place}", f"none (there are: {known})", "name one")
    config = _run_foreign(make, place)
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(f"an ExperimentConfig from {name}", type(config).__name__, "return one from the recipe")
    return config


def to_json(config: ExperimentConfig) -> str:
    """Return a configuration as indented JSON that :func:`from_json` reads back to an equal value."""
    document = {"format": FORMAT, "auxo": auxo.__version__, "run": _to_plain(config)}
    return json.dumps(document, indent=2) + "\n"


def from_json(text: str, *, origin: str, code: str | None = None) -> ExperimentConfig:
    """Return the configuration that JSON describes.

    Args:
        text: from :func:`to_json`, perhaps edited.
        origin: the file's name, for messages.
        code: a Python file that the user allows to run. A configuration whose method lives outside auxo names its file,
            and is refused until the user names that file too, or another one where that is gone.

    Raises:
        ConfigError: not JSON, another format, an unknown or ill-typed field, or a method outside auxo without ``code``.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"JSON in {origin}", f"something else at line {error.lineno}", "repair the file") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        got = document.get("format") if isinstance(document, dict) else type(document).__name__
        written_by = document.get("auxo", "another program") if isinstance(document, dict) else "another program"
        fix = f"this is auxo {auxo.__version__}; use {written_by} or write the config anew"
        raise ConfigError(f"config format {FORMAT} in {origin}", str(got), fix)
    run = document.get("run")
    if not isinstance(run, dict):
        got = "none" if run is None else type(run).__name__
        raise ConfigError(f"an object 'run' in {origin}", got, "name the config.json of a run directory")
    try:
        return _converter(code).structure(run, ExperimentConfig)
    except ClassValidationError as error:
        raise _first_problem(error, origin) from error


def config_digest(config: ExperimentConfig) -> str:
    """Return a digest of the configuration without ``training``, which says how often to log, evaluate and save.

    A method outside auxo counts by the text of its file, not by the place: a run goes on where the file was moved, and
    not where it was edited.
    """
    plain = cast("dict[str, Any]", _to_plain(config))
    del plain["training"]
    for stage in plain["stages"]:
        place, _, path = stage["method"]["type"].rpartition(":")
        if Path(place).is_file():
            stage["method"]["type"] = f"{hashlib.sha256(Path(place).read_bytes()).hexdigest()}:{path}"
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _to_plain(value: object) -> object:
    """Return dataclasses as dicts, a method's options with their type."""
    if is_dataclass(value) and not isinstance(value, type):
        plain = {field.name: _to_plain(getattr(value, field.name)) for field in fields(value)}
        return {"type": _type_name(value), **plain} if isinstance(value, MethodConfig) else plain
    return list(map(_to_plain, value)) if isinstance(value, tuple) else value


def _type_name(config: MethodConfig) -> str:
    """Return a method's name, or ``file.py:Class.Config`` for one from outside auxo."""
    module = sys.modules[type(config).__module__]
    if module.__name__.startswith("auxo.methods."):
        return module.__name__.rpartition(".")[2]
    return f"{Path(str(module.__file__)).resolve()}:{type(config).__qualname__}"


@functools.cache  # it compiles a function for every class
def _converter(code: str | None) -> cattrs.Converter:
    """Return a converter that refuses unknown fields and wrong types."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def structure_method(value: object, _kind: type) -> MethodConfig:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r}, no object")
        options = dict(value)
        kind = _method_config(str(options.pop("type", "")), code)
        made: MethodConfig = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)(options, kind)
        return made

    def strictly(expected: type, *accepted: type) -> Callable[[object, type], object]:
        def structure(value: object, _kind: type) -> object:
            if type(value) not in (expected, *accepted):
                raise ValueError(f"{value!r}, no {expected.__name__}")
            return expected(value)

        return structure

    def structure_literal(value: object, kind: object) -> object:
        if value not in get_args(kind):
            raise ValueError(f"{value!r}, none of {', '.join(map(repr, get_args(kind)))}")
        return value

    def structure_tuple(value: object, kind: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ValueError(f"{value!r}, no list")
        members: Any = GenericAlias(list, get_args(kind)[0])
        return tuple(converter.structure(value, members))

    def comes_from(origin: object) -> Callable[[object], bool]:
        return lambda kind: get_origin(kind) is origin

    converter.register_structure_hook_func(comes_from(Literal), structure_literal)
    converter.register_structure_hook_func(comes_from(tuple), structure_tuple)
    converter.register_structure_hook(MethodConfig, structure_method)
    for expected, *accepted in ((int,), (float, int), (str,), (bool,)):
        converter.register_structure_hook(expected, strictly(expected, *accepted))
    return converter


def _method_config(name: str, code: str | None) -> type[MethodConfig]:
    """Return the class of options that a configuration names."""
    place, _, path = name.rpartition(":")
    if not place:
        return _only_config(registry.load("methods", path))
    recorded, named = Path(place), None if code is None else Path(code.partition(":")[0]).resolve()
    if named is None or (named != recorded and recorded.exists()):
        there = f"--code {place} if you trust that file"
        fix = f"pass {there}" if recorded.exists() else "the file is gone; pass --code with its new place"
        raise ConfigError("your leave to run a method outside auxo", place, fix)
    found: Any = _import_file(named)
    for part in path.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, MethodConfig)):
        raise ConfigError(f"a method's Config at {path} in {named}", "none", "restore the file that the run used")
    return found


def _only_config(module: ModuleType) -> type[MethodConfig]:
    """Return the options of the method in a module, the class ``Config`` within it."""
    config: type[MethodConfig] = next(
        vars(item)["Config"]
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, AbstractMethod) and item.__module__ == module.__name__
    )
    return config


def _first_problem(error: ClassValidationError, origin: str) -> ConfigError:
    """Turn cattrs' tree of errors into one line about the first leaf."""
    path: list[str] = []
    problem: BaseException = error
    while isinstance(problem, ClassValidationError | ExceptionGroup) and problem.exceptions:
        problem = problem.exceptions[0]
        for note in getattr(problem, "__notes__", ()):
            path.append(str(getattr(note, "name", getattr(note, "index", ""))))
    if isinstance(problem, ConfigError):
        return problem
    field = ".".join(part for part in path if part)
    if isinstance(problem, ForbiddenExtraKeysError):
        extra = sorted(problem.extra_fields)[0]
        near = difflib.get_close_matches(extra, [f.name for f in fields(problem.cl)], n=1)
        fix = f"did you mean {near[0]!r}?" if near else "remove it"
        return ConfigError(f"known fields in {origin}", f"{'.'.join(filter(None, (field, extra)))!r}", fix)
    got = f"no field {problem}" if isinstance(problem, KeyError) else str(problem) or type(problem).__name__
    return ConfigError(f"a valid {field or 'run'} in {origin}", got, "correct it")


def _import_module(name: str) -> ModuleType:
    """Import a module by its dotted name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            "an importable module", repr(name), "name a method (auxo list) or a file.py:function"
        ) from error


def _import_file(path: Path) -> ModuleType:
    """Run a user's Python file as a module."""
    if not path.is_file():
        raise ConfigError("a Python file with a recipe", f"no file {path}", "check the path before the colon")
    name = f"auxo_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError("a Python file with a recipe", str(path), "give it the ending .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    loader = spec.loader
    _run_foreign(lambda: loader.exec_module(module), str(path))
    return module


def _run_foreign(call: Callable[[], object], place: str) -> object:
    """Run code of the user's; what it raises becomes one line."""
    try:
        return call()
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a stranger's file may raise anything
        frames = [
            f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(Path(place).resolve())
        ]
        line = getattr(error, "lineno", None) or (frames[-1] if frames else None)
        where = f" at line {line}" if line else ""
        reason = error.msg if isinstance(error, SyntaxError) else error  # its text would say the line again
        raise ConfigError(f"{place} to run", f"{type(error).__name__}: {reason}{where}", "repair the file") from error
