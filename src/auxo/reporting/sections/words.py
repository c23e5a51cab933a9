"""Numbers and lists in sentences."""

from collections.abc import Sequence

from auxo.evaluation import title_measure
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "run"), counted(1200, "class", "classes")
        ('1 run', '1,200 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(words: Sequence[str], *, most: int = 12) -> str:
    """Return words in a row, the last after "and"; of many the first few and how many others.

    Example:
        >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2)
        ('a, b and c', 'a, b and 1 more')
    """
    shown = [*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def percent(value: float) -> str:
    """Return a fraction in percent with one digit."""
    return f"{100 * value:.1f} %"


def with_interval(row: EvaluationRow) -> str:
    """Return the primary measure with its interval, if it has one."""
    return say_measure(row.main)


def say_measure(measure: Measure) -> str:
    """Return a measure with its interval, if it has one."""
    if measure.low is None or measure.high is None:
        return measure.describe()
    low, high = (measure._replace(value=end).shown for end in (measure.low, measure.high))
    return f"{measure.describe()} [{low:.{measure.digits}f}, {high:.{measure.digits}f}]"


def titled(row: EvaluationRow) -> str:
    """Return the name of a row's primary measure with its unit, as an axis has it."""
    unit = row.main.unit
    return title_measure(row.primary) + (f", {unit}" if unit else "")


def said(value: float | None) -> str:
    """Return a number with four digits, or - where there is none."""
    return "-" if value is None else f"{value:.4g}"
