"""The tables of differences between methods, with what they allow to say and what they could have seen."""

from collections.abc import Sequence

from auxo.comparison.decisions import LEVEL
from auxo.comparison.measures import ShownMeasure
from auxo.comparison.statistics import Difference, find_sensitivity
from auxo.comparison.summary import Comparison
from auxo.evaluation import Table, begin_sentence

_MISSING = "-"
_UNDECIDED = "undecided"


def difference_tables(comparison: Comparison) -> list[Table]:
    """Return a table of the declared contrasts on the primary endpoint, then one of all others for every measure.

    A table has the contrasts whose methods have two seeds or more in common.
    """
    made: list[Table] = []
    explained: set[str] = set()
    for is_primary in (True, False):
        num_tests = len(comparison.family(is_primary=is_primary))
        for measure in comparison.measures:
            differences = comparison.family(is_primary=is_primary, measure=measure.name)
            if differences:
                is_first = measure.name not in explained
                made.append(_tabulate_differences(comparison, measure, differences, num_tests, is_first=is_first))
                explained.add(measure.name)
    return made


def spell_verdict(difference: Difference, measure: ShownMeasure) -> str:
    """Return what can be said of a contrast: that it is better or worse, that it is within the margin, or both.

    Where neither was seen it is undecided, which is no sign that both methods do alike.
    """
    if difference.is_constant:
        return "equal in every pair" if difference.mean == 0 else "the same in every pair"
    said = []
    if difference.is_above or difference.is_below:
        said.append("better" if difference.is_above is measure.higher_is_better else "worse")
    if difference.is_within and difference.margin is not None:
        said.append(f"within {difference.margin:g}")
    return ", ".join(said) or _UNDECIDED


def _tabulate_differences(
    comparison: Comparison, measure: ShownMeasure, differences: Sequence[Difference], num_tests: int, *, is_first: bool
) -> Table:
    """Return the table of one family and measure; the first of a measure explains it."""
    has_margin = any(each.margin is not None for each in differences)
    columns = ["method", "against", "set", "pairs", "difference", "95 % bootstrap", "95 % t", "p", "p (Holm)"]
    columns += ["p within (Holm)"] * has_margin + ["verdict"]
    lines = []
    for each in differences:
        within = (_format_p_value(each.p_within_holm),) if has_margin else ()
        intervals = (each.bootstrap, each.t)
        lines.append(
            (
                each.method,
                each.baseline,
                each.split,
                str(len(each.seeds)),
                measure.spell_difference(each.mean),
                *(_MISSING if interval is None else measure.spell_interval(interval) for interval in intervals),
                _format_p_value(each.p),
                _format_p_value(each.p_holm),
                *within,
                spell_verdict(each, measure),
            )
        )
    sentences = [
        *_introduce_family(comparison, differences),
        *(_explain_columns(measure) if is_first else ()),
        _count_tests(differences, num_tests),
        *(_explain_verdicts(measure, differences) if is_first else ("Verdicts are as in the first table.",)),
        *_say_images(comparison, differences),
        _say_sensitivity(measure, differences, num_tests),
    ]
    return Table(tuple(columns), tuple(lines), " ".join(sentences))


def _introduce_family(comparison: Comparison, differences: Sequence[Difference]) -> list[str]:
    """Return what the table is for."""
    if differences[0].is_primary:
        return [f"Primary: the declared contrasts on the declared endpoint, {differences[0].split}."]
    told = [
        "Exploratory: beside the primary endpoint or the declared contrasts; a hint, to be confirmed under new seeds."
    ]
    if comparison.endpoint is not None and not comparison.family(is_primary=True):
        told.append("No contrast was declared before its runs were seen.")
    return told


def _count_tests(differences: Sequence[Difference], num_tests: int) -> str:
    """Return what p-values are corrected for."""
    looks = " and the looks" * any(each.looks > 1 for each in differences)
    of_all = f"{num_tests} difference{'' if num_tests == 1 else 's'} of this kind{looks}"
    return f"p: of the paired t-test, and corrected by Holm's method for the {of_all}."


def _explain_columns(measure: ShownMeasure) -> list[str]:
    """Return what stands in the columns of numbers."""
    unit = " in points" if measure.unit == "%" else measure.in_unit or " as it is"
    side = "above" if measure.higher_is_better else "below"
    return [
        f"{begin_sentence(measure.title)} less that of the method it is held against under the same seed,{unit}; "
        f"{measure.better}, so a difference {side} 0 is for the method: mean, and 95 % intervals of the mean by the "
        "bootstrap and by Student's t for pairs. Of few seeds the bootstrap interval is too narrow.",
    ]


def _explain_verdicts(measure: ShownMeasure, differences: Sequence[Difference]) -> list[str]:
    """Return what the verdicts mean, and of what they are true."""
    margin = next((each.margin for each in differences if each.margin is not None), None)
    unit = f" point{'' if margin == 1 else 's'}" if measure.unit == "%" else f" {measure.unit}".rstrip()
    within = (
        ""
        if margin is None
        else f", and within {margin:g} where both one-sided tests see a difference smaller than {margin:g}{unit}; "
        "both can hold"
    )
    told = [
        f"Verdict: better or worse where the corrected p is at most {LEVEL:g}{within}. "
        f"{_UNDECIDED.capitalize()} does not mean that both do alike."
    ]
    if any(0 < each.num_groups < 3 for each in differences):
        told.append("Of two groups there is no interval.")
    return told


def _say_images(comparison: Comparison, differences: Sequence[Difference]) -> list[str]:
    """Return over what intervals and p-values are: seeds, and which images."""
    redrawn = comparison.contents.redrawn
    names = dict.fromkeys(each.split for each in differences if not each.num_groups)
    overlaps = {name: comparison.contents.find_overlap(name) for name in names}
    pooled = [name for name, overlap in overlaps.items() if overlap]
    fixed = [name for name in names if name not in redrawn and name not in pooled]
    told = []
    if any(each.num_groups for each in differences):
        grouped = dict.fromkeys(each.split for each in differences if each.num_groups)
        told.append(f"Intervals and p-values are over seeds and each {comparison.group} on {', '.join(grouped)}.")
    if fixed:
        told.append(f"Intervals and p-values are over seeds, for the images as they are, on {', '.join(fixed)}.")
    if pooled:
        share = max(overlaps.values())
        told.append(
            "Seeds draw training and test images anew from one pool, so training sets overlap: t intervals and "
            f"p-values take the variance (1 / n + {share:.3g}) s² of Nadeau and Bengio (2003) on {', '.join(pooled)}."
        )
    return told


def _say_sensitivity(measure: ShownMeasure, differences: Sequence[Difference], num_tests: int) -> str:
    """Return the smallest difference that would have been seen on each set."""
    unit = " points" if measure.unit == "%" else f" {measure.unit}".rstrip()
    told = []
    for split in dict.fromkeys(each.split for each in differences):
        found = find_sensitivity([each for each in differences if each.split == split], num_tests=num_tests)
        if found is not None:
            ends = f"{measure.spell(found.low)} to {measure.spell(found.high)}"
            told.append(f"{measure.spell(found.value)}{unit} ({ends}) on {split}")
    if not told:
        return "Which differences could have been seen is not known."
    return (
        "The smallest difference that would have been seen with a power of 80 %, by the standard deviation pooled over "
        f"the contrasts, and in brackets by the ends of its 95 % interval: {', '.join(told)}."
    )


def _format_p_value(value: float | None) -> str:
    """Return a p-value."""
    return _MISSING if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
