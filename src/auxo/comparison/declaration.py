"""What a comparison is to decide, said before its runs are seen, and the tables of it that were looked at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from auxo.comparison.measures import ShownMeasure
from auxo.errors import ConfigError
from auxo.runs.results import PRIMARY

ELSEWHERE = "mean elsewhere"
PREFIX = "ood/"
MARGIN = "1"
_SPELLED = "elsewhere"

Look = Mapping[str, tuple[int, ...]]
"""Seeds of the finished runs of every method, in a table that was printed."""


@dataclass(frozen=True)
class Contrast:
    """A method less another.

    Args:
        method: its name.
        baseline: the other's.
        is_declared: whether it was asked for before a table showed both under a common seed, as a question of its own.
    """

    method: str
    baseline: str
    is_declared: bool = True


@dataclass(frozen=True)
class Declaration:
    """What a comparison is to decide.

    Args:
        measure: of the primary endpoint; ``primary`` means the task's own.
        split: of the primary endpoint; ``None`` means the mean elsewhere, or the one set from elsewhere, or ``test``.
        margin: differences that do not matter, as :func:`read_margins` has them.
        looks: tables that are planned, >= 1.
        contrasts: in the order of the tables.
        group: column of the test images whose values are taken for drawn; ``None`` where images are taken as they are.
    """

    measure: str = PRIMARY
    split: str | None = None
    margin: str = MARGIN
    looks: int = 1
    contrasts: tuple[Contrast, ...] = ()
    group: str | None = None

    def choose_split(self, sets: Sequence[str]) -> str | None:
        """Return the set of the primary endpoint among those that have results; ``None`` if none of them is it."""
        if self.split is not None:
            return self.split if self.split in sets else None
        elsewhere = [name for name in sets if name.startswith(PREFIX)]
        order = (ELSEWHERE, *elsewhere, "test")
        return next((name for name in order if name in sets), None)


@dataclass(frozen=True)
class Question:
    """What the user asks of a comparison; ``None`` or nothing stands for what was declared before, or the default.

    Args:
        baselines: methods that all others are compared with.
        contrasts: pairs of method and baseline, in place of all with the baselines.
        controls: methods by the name of their control, which a comparison also has.
        endpoint: test set of the primary endpoint, ``elsewhere`` for the mean over those from elsewhere.
        margin: see :class:`Declaration`.
        looks: see :class:`Declaration`.
        group: see :class:`Declaration`; it may still be named after a look, but not be changed.
    """

    baselines: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = ()
    controls: Mapping[str, str] | None = None
    endpoint: str | None = None
    margin: str | None = None
    looks: int | None = None
    group: str | None = None


def declare(
    question: Question, methods: Sequence[str], *, measure: str, earlier: Declaration | None, looks: Sequence[Look]
) -> Declaration:
    """Return what a comparison decides, with what is asked for.

    Args:
        question: what is asked.
        methods: all of the comparison, in their order.
        measure: that is shown first.
        earlier: what was declared; ``None`` for a new comparison.
        looks: that were taken.

    Raises:
        ConfigError: a name is none of a method, a margin is none, or the endpoint, margin or number of looks would
            change after a table was seen.
    """
    _check_names(question, methods)
    asked = {
        "split": ELSEWHERE if question.endpoint == _SPELLED else question.endpoint,
        "margin": question.margin,
        "looks": question.looks,
        "group": question.group,
    }
    changes = {name: value for name, value in asked.items() if value is not None}
    read_margins(question.margin or MARGIN)
    if question.looks is not None and question.looks < 1:
        raise ConfigError("looks >= 1", str(question.looks), "name how many tables you will look at")
    before = Declaration(measure=measure) if earlier is None else earlier
    made = replace(before, **changes) if changes else before  # type: ignore[arg-type]
    if looks and made != before:
        _refuse_change(replace(before, group=before.group or made.group), made)
    own = made if looks else replace(made, measure=measure)
    listed = {
        (each.method, each.baseline): each for each in (earlier.contrasts if earlier is not None and looks else ())
    }
    for contrast in _list_contrasts(question, methods):
        seen = count_looks(looks, contrast.method, contrast.baseline, ()) > 0
        is_declared = contrast.is_declared and not seen
        listed.setdefault((contrast.method, contrast.baseline), replace(contrast, is_declared=is_declared))
    return replace(own, contrasts=tuple(listed.values()))


def count_looks(looks: Iterable[Look], method: str, baseline: str, seeds: Sequence[int]) -> int:
    """Return how many tables of different seeds have tested a contrast, with the one of these seeds.

    Args:
        looks: that were taken.
        method: of the contrast.
        baseline: of the contrast.
        seeds: that both have now; none, to count those before alone.
    """
    shared = (tuple(sorted({*look.get(method, ())} & {*look.get(baseline, ())})) for look in looks)
    return len({pairs for pairs in (*shared, tuple(sorted(seeds))) if len(pairs) > 1})


def read_margins(text: str) -> dict[str, float]:
    """Return the differences that do not matter, by measure; that of all measures in percent, in points, has no name.

    Args:
        text: such as ``1`` or ``0.5,nll=0.02``.

    Raises:
        ConfigError: it is none.

    Example:
        >>> read_margins("0.5, nll=0.02")
        {'': 0.5, 'nll': 0.02}
    """
    margins: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if not (isfinite(value) and value > 0) or name.strip() in margins or ("=" in part and not name.strip()):
            raise ConfigError("a margin such as 1 (points) or 1,nll=0.02", repr(text[:40]), "name one above 0")
        margins[name.strip()] = value
    return margins


def margin_of(text: str, measure: ShownMeasure) -> float | None:
    """Return the difference in a measure that does not matter, or ``None`` where none is stated."""
    margins = read_margins(text)
    return margins.get(measure.name, margins.get("") if measure.unit == "%" else None)


def _list_contrasts(question: Question, methods: Sequence[str]) -> list[Contrast]:
    """Return the contrasts that are asked for: those that answer a question of their own first."""
    controls = {name: of for name, of in (question.controls or {}).items() if name in methods and of in methods}
    baselines = question.baselines or methods[:1]
    with_controls = [(of, name) for name, of in controls.items() if name not in baselines]
    others = [name for name in methods if name not in baselines]
    by_default = [(name, base) for name in others if name not in controls for base in baselines]
    declared = question.contrasts or (*by_default, *with_controls)
    rest = [(name, base) for name in others for base in baselines]
    made = dict.fromkeys(declared, True) | dict.fromkeys([pair for pair in rest if pair not in declared], False)
    return [Contrast(*pair, is_declared) for pair, is_declared in made.items()]


def _check_names(question: Question, methods: Sequence[str]) -> None:
    """Refuse names of no method, and a method less itself."""
    known = ", ".join(methods)
    for name in question.baselines:
        if name not in methods:
            raise ConfigError(f"a baseline among {known}", repr(name), "name one of them")
    if len(set(question.baselines)) < len(question.baselines):
        raise ConfigError("baselines that differ", ",".join(question.baselines), "name each once")
    for pair in question.contrasts:
        got = next((name for name in pair if name not in methods), None)
        if got is not None:
            raise ConfigError(f"contrasts of {known}", repr(got), "name two of them, as in ossl:rotation")
        if pair[0] == pair[1]:
            raise ConfigError("contrasts of two methods", ":".join(pair), "name two, as in ossl:rotation")


def _refuse_change(before: Declaration, made: Declaration) -> None:
    """Refuse another endpoint, margin or number of looks than was declared before a table was seen."""
    names = {"split": "endpoint", "margin": "margin", "looks": "looks", "group": "group"}
    changed = next((each for each in names.items() if getattr(before, each[0]) != getattr(made, each[0])), None)
    if changed is None:
        return
    name, option = changed
    kept, got = (str(getattr(each, name) or "the default") for each in (before, made))
    fix = f"leave --{option} out, or choose another --out; sets beside the endpoint are in the exploratory tables"
    raise ConfigError(f"the {option} that was declared before the first table, {kept}", got, fix)
