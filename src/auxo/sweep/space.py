"""A search space: options of a run and what their values are drawn from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

from auxo.data import Splits
from auxo.errors import ConfigError
from auxo.runs.experiment import ExperimentConfig, method_name
from auxo.runs.model import splits_of
from auxo.runs.networks import record_backbones
from auxo.runs.selection import SelectionRule
from auxo.runtime import Runtime
from auxo.sweep.fields import Field, Value, declared_samplers, find_field, search_fields, with_values
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
    """

    field: Field
    sampler: Sampler


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
        are_inside = all(parameter.sampler.has(parameter.field.value) for parameter in self.parameters)
        return {p.field.path: p.field.value for p in self.parameters} if are_inside else None

    def run(self, values: Mapping[str, Value]) -> ExperimentConfig:
        """Return the run with these values.

        Args:
            values: one for every path.

        Raises:
            ConfigError: they do not go together.
        """
        config = with_values(self.config, {p.field: values[p.field.path] for p in self.parameters})
        return record_backbones(config)

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
        return [dict(zip(self.paths, values, strict=True)) for values in product(*lists)]

    def examples(self) -> Iterator[tuple[Parameter, ExperimentConfig]]:
        """Yield, for every end of a range and every choice, the option and a run that has the value.

        Raises:
            ConfigError: a value is refused by the run, whatever ends and choices the other options have.
        """
        for parameter in self.parameters:
            for value in parameter.sampler.values:
                yield parameter, self._example(parameter, value)

    def _example(self, parameter: Parameter, value: Value) -> ExperimentConfig:
        """Return a run in which an option has a value: the others as they are, else at ends of theirs."""
        others = [other for other in self.parameters if other is not parameter]
        ends = product(*(other.sampler.values for other in others))
        attempts = [
            {},
            *(dict(zip(others, combination, strict=True)) for combination in islice(ends, _MOST_COMBINATIONS)),
        ]
        first: ConfigError | None = None
        for attempt in attempts:
            changes = {other.field: end for other, end in attempt.items()} | {parameter.field: value}
            try:
                return with_values(self.config, changes)
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
    known = search_fields(config)
    samplers: dict[str, str] = {}
    for word in words:
        path, equals, text = word.partition("=")
        if not equals:
            raise ConfigError("FIELD=SAMPLER", repr(word), "write for instance method.optimizer.lr=log:1e-3,0.1")
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
        Parameter(item, parse_sampler(text, item)) for item, text in zip(fields, samplers.values(), strict=True)
    ]
    space = SearchSpace(config, tuple(parameters))
    for _ in space.examples():
        pass
    return space


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
    score = ValidationScore(rule, rule.check(last.reader.evaluate(splits.val), split=splits.val.name))
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
