"""The measures that a comparison shows, and how their values are read."""

from collections.abc import Iterable
from statistics import fmean, stdev
from typing import NamedTuple

from auxo.errors import ConfigError
from auxo.evaluation import title_measure
from auxo.runs.results import EvaluationRow
from auxo.tasks import Interval, Measure


class ShownMeasure(NamedTuple):
    """A measure of a comparison. Its values are in percent where the unit is "%", else in the unit.

    Args:
        name: of the measure.
        unit: "%", another such as "nats", or "".
        higher_is_better: which way is up.
        chances: what guessing reaches of it, without repetitions, in increasing order; none where it is not known.
    """

    name: str
    unit: str
    higher_is_better: bool
    chances: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """What tables call it."""
        return title_measure(self.name)

    @property
    def in_unit(self) -> str:
        """The unit as a part of a sentence, with a space before it; empty without a unit."""
        return {"%": " in percent", "": ""}.get(self.unit, f" in {self.unit}")

    @property
    def better(self) -> str:
        """Which way is better, in words."""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    def spell(self, value: float) -> str:
        """Return a value without its unit."""
        return f"{value:.{self._num_digits}f}"

    def spell_spread(self, values: list[float]) -> str:
        """Return mean and sample standard deviation, or one value alone."""
        mean = self.spell(fmean(values))
        return mean if len(values) == 1 else f"{mean} ± {self.spell(stdev(values))}"

    def spell_difference(self, value: float) -> str:
        """Return a difference with its sign."""
        return f"{value:+z.{self._num_digits}f}"

    def spell_interval(self, interval: Interval) -> str:
        """Return the interval of a difference."""
        return f"[{self.spell_difference(interval.low)}, {self.spell_difference(interval.high)}]"

    @property
    def _num_digits(self) -> int:
        """Digits behind the point."""
        return Measure(0, unit=self.unit).digits


def choose_measure(rows: Iterable[EvaluationRow], name: str) -> ShownMeasure:
    """Return the measure of a name.

    Args:
        rows: of the heads that predict; at least one.
        name: of the measure; ``primary`` means the one that decides.

    Raises:
        ConfigError: no row has it, or it is not one and the same for all.
    """
    rows = list(rows)
    names = sorted({row.name_measure(name) for row in rows})
    if len(names) > 1:
        fix = "name a measure that all have with --measure, or compare them apart"
        raise ConfigError("one primary measure for all methods", " and ".join(names), fix)
    found = [measure for row in rows if (measure := row.measures.get(row.name_measure(name))) is not None]
    if not found:
        known = ", ".join(dict.fromkeys(known for row in rows for known in row.measures))
        raise ConfigError(f"a measure of {known}", repr(name), "name one of them with --measure")
    kinds = dict.fromkeys((measure.unit, measure.higher_is_better) for measure in found)
    if len(kinds) > 1:
        got = " and ".join(f"{unit or 'no unit'}, {'higher' if up else 'lower'} is better" for unit, up in kinds)
        raise ConfigError(f"one meaning of {names[0]} for all methods", got, "compare them apart")
    ((unit, is_up),) = kinds
    chances = {row.guessing.shown for row in rows if row.guessing is not None and row.primary == names[0]}
    return ShownMeasure(names[0], unit, is_up, tuple(sorted(chances)))
