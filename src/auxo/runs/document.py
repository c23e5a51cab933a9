"""Runs as files: recipes in Python, resolved configurations in JSON."""

import difflib
import functools
import hashlib
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import cattrs
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn

import auxo
from auxo import registry
from auxo.errors import ConfigError, OptionError
from auxo.files.json_text import find_problem, read_json, strict_converter
from auxo.interfaces import AbstractMethod, MethodConfig
from auxo.options import LATER, FamilyOptions, family_of, find_member, read_default
from auxo.registry.outside import import_file, is_outside, load_outside, pair_files, run_foreign, split_outside
from auxo.runs.controls import read_control
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.selection import SelectionRule
from auxo.runs.tree import fold

FORMAT = 3

_Json = TypeVar("_Json")
_Kind = TypeVar("_Kind")


def load_recipe(name: str) -> ExperimentConfig:
    """Return the run that a recipe describes.

    Args:
        name: a method of auxo (``ossl``), whose recipe is in its own module or, for a run of several methods in stages,
            in ``auxo.recipes``; a function in a file (``my_method.py:recipe``; ``recipe`` may be left out) or
            a function in an importable module (``auxo.methods.ossl:cifar10_released``).

    Raises:
        ConfigError: there is no such recipe, its file does not run, or it returns something else.
    """
    make, place = _find_recipe(name)
    config = run_foreign(make, place)
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(f"an ExperimentConfig from {name}", type(config).__name__, "return one from the recipe")
    return config


def find_controlled(name: str) -> str | None:
    """Return the method that a recipe says it is a control of, by :func:`auxo.runs.controls.control_of`, or ``None``.

    Args:
        name: see :func:`load_recipe`.

    Raises:
        ConfigError: there is no such recipe, or its file does not run.
    """
    return read_control(_find_recipe(name)[0])


def _find_recipe(name: str) -> tuple[Callable[[], object], str]:
    """Return the function that a recipe's name stands for, and where it is."""
    place, _, function = name.partition(":")
    if place.endswith(".py"):
        module = import_file(Path(place))
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
    return make, place


def to_json(config: ExperimentConfig) -> str:
    """Return a configuration as indented JSON that :func:`from_json` reads back to an equal value."""
    document = {"format": FORMAT, "auxo": auxo.__version__, "run": _to_plain(config)}
    return json.dumps(document, indent=2) + "\n"


def from_json(
    text: str | bytes, *, origin: str, code: Sequence[str] | str | None = None, is_published: bool = False
) -> ExperimentConfig:
    """Return the configuration that JSON describes.

    Args:
        text: from :func:`to_json`, perhaps edited.
        origin: the file's name, for messages.
        code: Python files that the user allows to run, as ``file.py`` or ``file.py:Name``. A configuration that uses
            things outside auxo names their files, and is refused until the user names each of them too, or where one is
            gone another of the same name; one named file stands for one that is gone, whatever its name.
        is_published: it is that of an export: files are called by their names alone, and the format may be older.

    Raises:
        ConfigError: not JSON, another format, an unknown or ill-typed field, or something outside auxo that ``code``
            does not allow.
    """
    document: Any = read_json(text, object, expected=f"JSON in {origin}", fix="repair the file", error=ConfigError)
    is_older = is_published and isinstance(document, dict) and document.get("format") in range(1, FORMAT)
    if is_older:
        document = _upgrade_document(document, origin)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        got = document.get("format") if isinstance(document, dict) else type(document).__name__
        written_by = document.get("auxo", "another program") if isinstance(document, dict) else "another program"
        fix = f"this is auxo {auxo.__version__}; use {written_by} or write the config anew"
        raise ConfigError(f"config format {FORMAT} in {origin}", str(got), fix)
    run = document.get("run")
    if not isinstance(run, dict):
        got = "none" if run is None else type(run).__name__
        raise ConfigError(f"an object 'run' in {origin}", got, "name the config.json of a run directory")
    run = allow_code(run, code, is_published=is_published)
    return _structure_strictly(run, ExperimentConfig, origin, is_older=is_older)


def read_rule(value: object, *, origin: str) -> SelectionRule:
    """Return the rule of selection that a stage of a document has.

    Args:
        value: of its field ``selection``.
        origin: the file's name, for messages.

    Raises:
        ConfigError: it is no rule.
    """
    return _structure_strictly(value, SelectionRule, origin)


def _structure_strictly(value: object, kind: type[_Kind], origin: str, *, is_older: bool = False) -> _Kind:
    """Return the dataclass that JSON describes.

    Raises:
        ConfigError: a field is missing, unknown or of another type.
    """
    try:
        return _build_converter(is_older=is_older).structure(value, kind)
    except (ExceptionGroup, ValueError, TypeError, KeyError) as error:
        raise _first_problem(error, origin) from error


def config_digest(config: ExperimentConfig) -> str:
    """Return a digest of the configuration without ``training``, which says how often to log, evaluate and save.

    How often to evaluate counts where the best of what was evaluated is kept.

    What is outside auxo counts by the text of its file, not by the place: a run goes on where the file was moved, and
    not where it was edited.
    """
    plain = cast("dict[str, Any]", _to_plain(config, leaves_out=_is_later_default))
    training = plain.pop("training")
    if plain["data"]["block_column"] is None:
        del plain["data"]["block_column"]  # as digests of older runs have it
    if any(stage.selection.keeps_best for stage in config.stages) and training["evaluate_every"] != 1:
        plain["evaluate_every"] = training["evaluate_every"]  # 1 is left out, as digests of older runs have it
    plain = replace_outside(plain, lambda path: _digest_of(path) if path.is_file() else str(path))
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def outside_files(*configs: object) -> tuple[Path, ...]:
    """Return the Python files of everything outside auxo that a run, or parts of its configuration, use; each once."""
    return list_files([_to_plain(config) for config in configs])


def replace_outside(value: _Json, rename: Callable[[Path], str]) -> _Json:
    """Return JSON in which the file of every ``file.py:Name`` is called otherwise.

    Args:
        value: of a configuration.
        rename: returns what to call a file.
    """

    def change(item: object) -> object:
        if not isinstance(item, str) or not is_outside(item):
            return item
        path, name = split_outside(item)
        return f"{rename(path)}:{name}"

    return map_json(value, change)


def map_json(value: _Json, change: Callable[[object], object]) -> _Json:
    """Return JSON in which every value is what ``change`` makes of it, from the inside out."""
    if isinstance(value, dict):
        return cast("_Json", change({key: map_json(item, change) for key, item in value.items()}))
    if isinstance(value, list):
        return cast("_Json", change([map_json(item, change) for item in value]))
    return cast("_Json", change(value))


def list_files(value: object) -> tuple[Path, ...]:
    """Return the files that JSON names as ``file.py:Name``, each once."""
    files: dict[Path, None] = {}

    def note(path: Path) -> str:
        files[path] = None
        return str(path)

    replace_outside(value, note)
    return tuple(files)


def _digest_of(path: Path) -> str:
    """Return a digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def allow_code(run: dict[str, Any], code: Sequence[str] | str | None, *, is_published: bool) -> dict[str, Any]:
    """Return JSON of a configuration whose files are those that the user allows.

    Args:
        run: names things outside auxo as ``file.py:Name``.
        code: the files that are allowed.
        is_published: files are called by their names alone.

    Raises:
        ConfigError: a file is not allowed.
    """
    recorded = {path: path if is_published else path.expanduser().resolve() for path in list_files(run)}
    files = list(dict.fromkeys(recorded.values()))
    words = [code] if isinstance(code, str) else code or ()
    named = [split_outside(word)[0] if is_outside(word) else Path(word) for word in words]
    named = list(dict.fromkeys(path.expanduser().resolve() for path in named))
    expected = "your leave to run what is outside auxo"
    refused = [file for file in files if file not in named and file.exists() and not is_published]
    if refused:
        needed = "".join(f" --code {file}" for file in files if file in named or file in refused)
        them = "that file" if len(refused) == 1 else "these files"
        raise ConfigError(expected, _join_files(refused), f"pass{needed} if you trust {them}")
    places = pair_files(files, named)
    missing = [file for file in files if file not in places]
    if missing:
        needed = "".join(f" --code {file}" for file in missing)
        fix = f"pass{needed}, from where you have it, if you trust it"
        if not is_published:
            names = " and ".join(file.name for file in missing)
            fix = f"{names} {'is' if len(missing) == 1 else 'are'} gone; pass --code with the new place"
        raise ConfigError(expected, _join_files(missing), fix)
    changed: dict[str, Any] = replace_outside(run, lambda path: str(places[recorded[path]]))
    return changed


def _join_files(files: Sequence[Path]) -> str:
    """Return files with commas between."""
    return ", ".join(map(str, files))


def _upgrade_document(document: dict[str, Any], origin: str) -> dict[str, Any]:
    """Return a document of an earlier format as one of this format: enough to predict with.

    Raises:
        ConfigError: it is no run of that format.
    """
    number = document["format"]
    try:
        run = document["run"]
        stages = [_upgrade_stage(stage, number) for stage in run["stages"]]
        return {**document, "format": FORMAT, "run": {**run, "stages": stages}}
    except (KeyError, TypeError, AttributeError) as error:
        got = f"another ({type(error).__name__}: {error})"
        raise ConfigError(
            f"a run of config format {number} in {origin}", got, "take the file that was exported"
        ) from error


def _upgrade_stage(stage: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a stage of a document of an earlier format."""
    if number == 1:
        stage = {**stage, "selection": {"keep": {"last": "last", "best_val": "best"}[stage["selection"]]}}
    method = dict(stage["method"])
    if method["type"] == "bissl":
        options = {name: method.pop(name) for name in ("damping", "iterations", "tolerance")}
        method["solver"] = {"name": method["solver"], **options}
    if method["type"] == "rotation":
        options = {"mode": method.pop("rotation")}
        method |= {"type": "joint_training", "pretext": {"name": "rotation", **options}}
        method["pretext_weight"] = method.pop("rotation_weight")
    if "pretexts" in method:  # LoRot was called rotation there, and the order of the names was of no account
        named = {"flip": "flip", "rotation": "lorot", "channel_shuffle": "channel_shuffle"}
        tasks = [new for old, new in named.items() if old in method["pretexts"]["tasks"]]
        method["pretexts"] = {**method["pretexts"], "tasks": tasks}
    return {**stage, "method": method}


def _is_later_default(owner: object, name: str) -> bool:
    """Return whether a field has the default that runs without it were made with."""
    item = next(each for each in fields(cast("Any", owner)) if each.name == name)
    return LATER.items() <= item.metadata.items() and getattr(owner, name) == read_default(item)


def _to_plain(value: object, *, leaves_out: Callable[[object, str], bool] = lambda _owner, _name: False) -> object:
    """Return dataclasses as dicts, a method's options with their type."""

    def combine(owner: object, made: dict[str, object]) -> dict[str, object]:
        kept = {name: item for name, item in made.items() if not leaves_out(owner, name)}
        plain = {name: list(item) if isinstance(item, tuple) else item for name, item in kept.items()}
        return {"type": _type_name(owner), **plain} if isinstance(owner, MethodConfig) else plain

    return fold(value, combine)


def _type_name(config: MethodConfig) -> str:
    """Return a method's name, or ``file.py:Class.Config`` for one from outside auxo."""
    module = sys.modules[type(config).__module__]
    if module.__name__.startswith("auxo.methods."):
        return module.__name__.rpartition(".")[2]
    return f"{Path(str(module.__file__)).resolve()}:{type(config).__qualname__}"


@functools.cache  # it compiles a function for every class
def _build_converter(*, is_older: bool) -> cattrs.Converter:
    """Return a converter that refuses unknown fields and wrong types.

    Args:
        is_older: leave out what a family's member does not have: before format 3 each had the options of all.
    """
    converter = strict_converter(allows_more=False)

    def structure_method(value: object, _kind: type) -> MethodConfig:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r}, no object")
        options = dict(value)
        kind = _method_config(str(options.pop("type", "")))
        made: MethodConfig = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)(options, kind)
        return made

    def structure_member(value: object, kind: type[FamilyOptions]) -> FamilyOptions:
        if not isinstance(value, dict):
            raise ValueError(f"{value!r}, no object")
        member = find_member(family_of(kind), str(value.get("name", "")))
        known = {item.name for item in fields(member)}
        options = {key: item for key, item in value.items() if key != "name" and (key in known or not is_older)}
        made: FamilyOptions = make_dict_structure_fn(member, converter, _cattrs_forbid_extra_keys=True)(options, member)
        return made

    def is_member(kind: object) -> bool:
        return isinstance(kind, type) and issubclass(kind, FamilyOptions)

    converter.register_structure_hook_func(is_member, structure_member)
    converter.register_structure_hook(MethodConfig, structure_method)
    return converter


def _method_config(name: str) -> type[MethodConfig]:
    """Return the class of options that a configuration names, which is allowed."""
    if not is_outside(name):
        return _only_config(registry.load("methods", name))
    return load_outside(name, MethodConfig)


def _only_config(module: ModuleType) -> type[MethodConfig]:
    """Return the options of the method in a module, the class ``Config`` within it."""
    config: type[MethodConfig] = next(
        vars(item)["Config"]
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, AbstractMethod) and item.__module__ == module.__name__
    )
    return config


def _first_problem(error: Exception, origin: str) -> ConfigError:
    """Turn cattrs' tree of errors into one line about the first leaf."""
    path, problem = find_problem(error)
    field = ".".join(path)
    if isinstance(problem, OptionError):
        place = ".".join(filter(None, (field, *problem.steps)))
        return ConfigError(f"{place} {problem.rule} in {origin}", problem.got, problem.fix)
    if isinstance(problem, ConfigError):
        return problem
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
        fix = "name a method (auxo list) or a file.py:function"
        raise ConfigError("an importable module", repr(name), fix) from error
