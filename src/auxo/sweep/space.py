"""A search space: options of a run and what their values are drawn from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import TypeAlias

from auxo.data import Splits
from auxo.errors import ConfigError
from auxo.runs.experiment import ExperimentConfig, method_name
from auxo.runs.model import splits_of
from auxo.runs.networks import record_backbones
from auxo.runs.selection import SelectionRule
from auxo.runtime import Runtime
from auxo.sweep.fields import (
    Field,
    Value,
    declared_samplers,
    find_field,
    is_chooser,
    member_fields,
    search_fields,
    with_values,
)
from auxo.sweep.results import Objective, ValidationScore
from auxo.sweep.samplers import Choice, Integers, Sampler, parse_sampler
from auxo.training.run import untrained_stages
from auxo.training.trainer import StageTrainer

_MOST_COMBINATIONS = 256


@dataclass(frozen=True)
class Parameter:
    """An option with its sampler.

    Args:
        field: the option.
        sampler: what its values are drawn from.
        names: where a name that is searched decides whether the option is there, the path of that and the names that
            have the option.
    """

    field: Field
    sampler: Sampler
    names: Mapping[str, Sequence[Value]]

    def is_there(self, values: Mapping[str, Value]) -> bool:
        """Return whether a trial of these values has the option."""
        return all(values.get(path) in names for path, names in self.names.items())


@dataclass(frozen=True)
class SearchSpace:
    """What is searched.

    Args:
        config: the run with the values that it has without a search.
        parameters: what varies; at least one.
    """

    config: ExperimentConfig
    parameters: tuple[Parameter, ...]

    @property
    def paths(self) -> list[str]:
        """Names of the options that vary."""
        return [parameter.field.path for parameter in self.parameters]

    @property
    def own_values(self) -> dict[str, Value] | None:
        """The values that the run has without a search, or ``None`` where some could not be drawn."""
        own = {p.field.path: p.field.value for p in self.parameters}
        there = [parameter for parameter in self.parameters if parameter.is_there(own)]
        are_inside = all(parameter.sampler.has(parameter.field.value) for parameter in there)
        return {p.field.path: p.field.value for p in there} if are_inside else None

    def run(self, values: Mapping[str, Value]) -> ExperimentConfig:
        """Return the run with these values.

        Args:
            values: by path, one for every option that a run with these names has.

        Raises:
            ConfigError: they do not go together.
        """
        return record_backbones(self._change_run(values))

    def keep_there(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values of those options that a run with the names among them has."""
        return {p.field.path: values[p.field.path] for p in self.parameters if p.is_there(values)}

    def describe(self) -> dict[str, str]:
        """Return the samplers by path, as words."""
        return {parameter.field.path: str(parameter.sampler) for parameter in self.parameters}

    def grid(self) -> list[dict[str, Value]]:
        """Return all combinations of values, the last option varying fastest.

        Raises:
            ConfigError: an option has a range of real numbers.
        """
        lists: list[Sequence[Value]] = []
        for parameter in self.parameters:
            if isinstance(parameter.sampler, Choice):
                lists.append(parameter.sampler.values)
            elif isinstance(parameter.sampler, Integers):
                lists.append(range(parameter.sampler.low, parameter.sampler.high + 1))
            else:
                fix = "write choice:A,B,... with the values to try"
                got = f"{parameter.field.path}={parameter.sampler}"
                raise ConfigError("choice: or int: for every option of a grid", got, fix)
        combinations = (self.keep_there(dict(zip(self.paths, values, strict=True))) for values in product(*lists))
        return [dict(items) for items in dict.fromkeys(tuple(values.items()) for values in combinations)]

    def examples(self) -> Iterator[tuple[Parameter, ExperimentConfig]]:
        """Yield, for every end of a range and every choice, the option and a run that has the value.

        Raises:
            ConfigError: a value is refused by the run, whatever ends and choices the other options have.
        """
        for parameter in self.parameters:
            for value in parameter.sampler.values:
                yield parameter, self._make_example(parameter, value)

    def _change_run(self, values: Mapping[str, Value]) -> ExperimentConfig:
        """Return the run with these values, as far as it has the options then."""
        return with_values(self.config, {p.field: values[p.field.path] for p in self.parameters if p.is_there(values)})

    def _make_example(self, parameter: Parameter, value: Value) -> ExperimentConfig:
        """Return a run in which an option has a value: the others as they are, else at ends of theirs."""
        own = {p.field.path: p.field.value for p in self.parameters}
        needed = {path: own[path] if own[path] in names else names[0] for path, names in parameter.names.items()}
        others = [other for other in self.parameters if other is not parameter]
        ends = product(*(other.sampler.values for other in others))
        combinations = (
            {other.field.path: end for other, end in zip(others, combination, strict=True)}
            for combination in islice(ends, _MOST_COMBINATIONS)
        )
        first: ConfigError | None = None
        for attempt in ({}, *combinations):
            values = {**own, **needed, **attempt, parameter.field.path: value}
            if not parameter.is_there(values):
                continue
            try:
                return self._change_run(values)
            except ConfigError as error:
                first = first or error
        assert first is not None  # there was an attempt
        where = f"{value!r} in {parameter.field.path}={parameter.sampler}"
        raise ConfigError(first.expected, where, first.fix) from first


def parse_space(config: ExperimentConfig, words: Sequence[str]) -> SearchSpace:
    """Return the space that words describe, or without any the one that the run's method declares.

    Args:
        config: the run.
        words: ``FIELD=SAMPLER`` each.

    Raises:
        ConfigError: a word is wrong, or the run refuses a value.
    """
    own = search_fields(config)
    samplers: dict[str, str] = {}
    split = [word.partition("=") for word in words]
    names = _find_names(config, own, {path: text for path, _, text in split})
    known = {path: item for of_name in names.values() for found in of_name.values() for path, item in found.items()}
    known |= own
    for path, equals, text in split:
        if not equals:
            raise ConfigError("FIELD=SAMPLER", repr(path), "write for instance method.optimizer.lr=log:1e-3,0.1")
        name = find_field(path, known).path
        if name in samplers:
            raise ConfigError("one sampler for an option", f"two for {name}", "leave one out")
        samplers[name] = text
    samplers = samplers or declared_samplers(config)
    if not samplers:
        method = method_name(config.stages[-1])
        fix = "write for instance --search epochs=int:5,20"
        raise ConfigError("options to search over", f"none, and {method} declares none", fix)
    fields = [find_field(path, known) for path in samplers]
    parameters = [
        Parameter(item, parse_sampler(text, item), _find_owners(names, item.path))
        for item, text in zip(fields, samplers.values(), strict=True)
    ]
    space = SearchSpace(config, tuple(parameters))
    for _ in space.examples():
        pass
    return space


_Names: TypeAlias = Mapping[str, Mapping[Value, Mapping[str, Field]]]
"""The options that a run has under each name that is searched, by path of the name, name and path of the option."""


def _find_names(config: ExperimentConfig, own: Mapping[str, Field], words: Mapping[str, str]) -> _Names:
    """Return what names of families are searched, and the options under each."""
    found: dict[str, Mapping[Value, Mapping[str, Field]]] = {}
    for path, text in words.items():
        item = own.get(path.replace("_", "-"))
        if item is not None and is_chooser(config, item):
            found[item.path] = member_fields(config, item, parse_sampler(text, item).values)
    return found


def _find_owners(names: _Names, path: str) -> dict[str, Sequence[Value]]:
    """Return the names that have an option, by path of the name, of those families that it belongs to."""
    return {
        chooser: [name for name, found in of_name.items() if path in found]
        for chooser, of_name in names.items()
        if path != chooser and path.startswith(chooser.removesuffix("name"))
    }


def check_builds(space: SearchSpace, rule: SelectionRule, *, runtime: Runtime) -> Objective:
    """Build the networks of the run and of every choice, on the data, so that none is refused later.

    The run itself is measured on the validation images, untrained, so that a head or measure that is not there is
    refused too.

    Args:
        space: what is searched.
        rule: by which one of the trials is to be chosen.
        runtime: where they are built.

    Returns:
        What is to become best.

    Raises:
        AuxoError: data, network or method do not go together.
        SelectionError: no head of the last stage predicts, and the rule names no other.
        ConfigError: there is no such head or measure.
    """
    chosen = [example for parameter, example in space.examples() if isinstance(parameter.sampler, Choice)]
    data, splits = space.config.data, splits_of(space.config)
    *_, last = _build_untrained(space.config, splits, runtime)
    score = ValidationScore(rule, rule.check(last.measure_validation(), split=splits.val.name))
    for config in chosen:
        if config.data != data:
            data, splits = config.data, splits_of(config)
        for _ in _build_untrained(config, splits, runtime):
            pass
    return Objective(rule, score.measure.higher_is_better)


def _build_untrained(config: ExperimentConfig, splits: Splits, runtime: Runtime) -> Iterator[StageTrainer]:
    """Yield a trainer of each stage of a run as its trial would record it."""
    recorded = record_backbones(config)
    return untrained_stages(recorded, splits=splits, runtime=runtime)
