"""The options of a run that a search can vary, by the names that the command line gives them."""

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Literal, Union, cast, get_args, get_origin, get_type_hints

import tyro

from auxo.errors import ConfigError, OptionError
from auxo.options import FamilyOptions, choose_member
from auxo.runs.experiment import ExperimentConfig, named_options, spell_option
from auxo.runs.tree import Option, replaced, walk

Value = bool | int | float | str | None

# All else would change what the trials are measured on.
_OF_DATA = ("augment", "colour_jitter", "rand_augment", "erase", "image_size", "normalise")
_FIXED = ("seed", "task", "data", "training", "runtime")


@dataclass(frozen=True)
class Field:
    """An option that a search can vary.

    Args:
        path: as the command line has it, such as ``method.optimizer.lr``.
        steps: attributes on the way from the run to the value; a stage counts as ``stages`` and its number.
        kind: type of its values.
        allowed: the only values, if there are so few.
        is_optional: whether ``None`` is a value, too.
        value: what the run has.
    """

    path: str
    steps: tuple[str, ...]
    kind: type
    allowed: tuple[Value, ...]
    is_optional: bool
    value: Value


def search_fields(config: ExperimentConfig) -> dict[str, Field]:
    """Return the options of a run that a search can vary, by path.

    These are numbers, switches, names and choices of the stages, the pretext, the backbone, and the images'
    augmentation, size and normalisation. Left out are the seed, how often a run is logged, the device, and what would
    change the validation images.
    """
    found: dict[str, Field] = {}
    for path, option in named_options(config).items():
        part, *inner = option.steps
        if part in ("stages", "backbone", "pretext") or (part == "data" and inner[0] in _OF_DATA):
            shape = _find_shape(option)
            if shape is not None:
                found[path] = Field(path, option.steps, *shape, cast("Value", option.value))
    return found


def member_fields(config: ExperimentConfig, chooser: Field, names: Sequence[Value]) -> dict[Value, dict[str, Field]]:
    """Return the options that a run has under each name of a family's member, by name and path.

    Args:
        config: the run.
        chooser: the option that names the member.
        names: of members.

    Raises:
        ConfigError: there is no such member.
    """
    place = chooser.steps[:-1]
    prefix = chooser.path.removesuffix("name")
    current = next(o.owner for o in walk(config) if o.steps == chooser.steps)
    found: dict[Value, dict[str, Field]] = {}
    for name in names:
        found[name] = {}
        for option in walk(choose_member(cast("FamilyOptions", current), str(name))):
            shape = None if option.steps == ("name",) else _find_shape(option)
            if shape is not None:
                path = prefix + _spell_name(".".join(option.steps))
                found[name][path] = Field(path, (*place, *option.steps), *shape, cast("Value", option.value))
    return found


def is_chooser(config: ExperimentConfig, item: Field) -> bool:
    """Return whether an option names the member of a family."""
    owners = [option.owner for option in walk(config) if option.steps == item.steps]
    return item.steps[-1] == "name" and isinstance(owners[0], FamilyOptions)


def find_field(path: str, known: Mapping[str, Field]) -> Field:
    """Return the option of a path, in which ``_`` stands for ``-``, too.

    Raises:
        ConfigError: there is none that can be searched; the message gives the nearest names.
    """
    word = _spell_name(path)
    if word in known:
        return known[word]
    last = word.rpartition(".")[2]
    near = [name for name in known if name.rpartition(".")[2] == last]
    if not near and word.partition(".")[0] in _FIXED:
        fix = "give it once for all trials, as an option of auxo train"
        raise ConfigError("an option that a search can vary", f"{path}, the same for all trials", fix)
    near += [name for name in difflib.get_close_matches(word, known, n=3, cutoff=0.5) if name not in near]
    fix = f"did you mean {' or '.join(near[:3])}?" if near else "auxo sweep RECIPE --help names them"
    raise ConfigError("an option with a number, switch or name to search over", repr(path), fix)


def with_values(config: ExperimentConfig, values: Mapping[Field, Value]) -> ExperimentConfig:
    """Return the run with other values, all set at once.

    Raises:
        ConfigError: the run refuses them.
    """
    try:
        return replaced(config, {field.steps: value for field, value in values.items()})
    except OptionError as error:
        raise ConfigError(f"{spell_option(config, error.steps)} {error.rule}", error.got, error.fix) from error


def declared_samplers(config: ExperimentConfig) -> dict[str, str]:
    """Return the samplers that the method of the last stage declares for its options, by path.

    A field of a method's ``Config`` declares one by ``field(metadata={"search": "log:0.1,10"})``; a field of nested
    options by ``{"search": {"lr": "around:10"}}``, a sampler for each of their names.
    """
    method = config.stages[-1].method
    prefix = "method." if len(config.stages) == 1 else f"{_spell_name(config.stages[-1].name)}.method."
    found: dict[str, str] = {}
    for item in fields(method):
        declared = item.metadata.get("search", {})
        nested = {item.name: declared} if isinstance(declared, str) else declared
        for name, sampler in nested.items():
            path = name if isinstance(declared, str) else f"{item.name}.{name}"
            found[prefix + _spell_name(path)] = sampler
    return found


def _spell_name(name: str) -> str:
    """Return a name as the command line has it."""
    return name.replace("_", "-")


def _find_shape(option: Option) -> tuple[type, tuple[Value, ...], bool] | None:
    """Return kind, allowed values and whether ``None`` is one of an option; ``None`` for what cannot be searched."""
    hint = get_type_hints(type(option.owner), include_extras=True)[option.field.name]
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        if tyro.conf.Suppress in extras:
            return None
    members = list(get_args(hint)) if get_origin(hint) in (Union, types.UnionType) else [hint]
    is_optional = type(None) in members
    members = [member for member in members if member is not type(None)]
    if len(members) != 1:
        return None
    (member,) = members
    if get_origin(member) is Literal:
        allowed = get_args(member)
        return type(allowed[0]), allowed, is_optional
    return (member, (), is_optional) if member in (bool, int, float, str) else None
