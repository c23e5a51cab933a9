"""Paired differences between methods: intervals, p-values corrected for their number, and what they allow to say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from jaxtyping import Float

from auxo.comparison.decisions import Estimate, Sensitivity, decide, estimate_pairs, smallest_difference
from auxo.comparison.groups import GroupedDeltas, bootstrap_groups, estimate_groups
from auxo.tasks import Interval

_RESAMPLES = 9999
_CONFIDENCE = 0.95
_WITHIN_CONFIDENCE = 0.9  # whose ends are those of two one-sided tests at 5 %


@dataclass(frozen=True)
class Difference:
    """How much more of a measure a method has than the baseline under the same seeds, for better or worse.

    Args:
        method: its name.
        baseline: the other's.
        split: the test set.
        measure: name of the measure.
        seeds: of the pairs.
        mean: of the differences, in points where the measure is in percent, else in its unit.
        bootstrap: 95 % interval of the mean; ``None`` of fewer than two pairs, or ten groups.
        t: 95 % interval of the mean if differences are normal; ``None`` of fewer than two pairs, or three groups.
        t90: 90 % interval likewise.
        estimate: mean, standard error and degrees of freedom; ``None`` of fewer than two pairs.
        num_groups: groups of images that were taken for drawn, as seeds are; 0 where images were taken as they are.
        looks: tables in which the contrast was tested, this one included.
        margin: the difference that does not matter; ``None`` where none is stated.
        p: two-sided p-value of the paired t-test; ``None`` where it is not defined, of fewer than two pairs or where
            all differences are equal.
        p_holm: the same, for all looks and all differences of the family.
        p_within: p-value of a difference as large as the margin; ``None`` likewise.
        p_within_holm: the same, for all looks and all differences of the family.
        is_above: whether it is seen to be above 0.
        is_below: whether it is seen to be below 0.
        is_within: whether it is seen to be within the margin.
        is_primary: whether it is of the family of declared contrasts on the primary endpoint; else it is exploratory.
    """

    method: str
    baseline: str
    split: str
    measure: str
    seeds: tuple[int, ...]
    mean: float
    bootstrap: Interval | None = None
    t: Interval | None = None
    t90: Interval | None = None
    estimate: Estimate | None = None
    num_groups: int = 0
    looks: int = 1
    margin: float | None = None
    p: float | None = None
    p_holm: float | None = None
    p_within: float | None = None
    p_within_holm: float | None = None
    is_above: bool = False
    is_below: bool = False
    is_within: bool = False
    is_primary: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether all pairs differ by the same, so that nothing can be tested."""
        return self.estimate is not None and float(self.estimate.errors) == 0


def paired_difference(
    values: Mapping[int, float],
    others: Mapping[int, float],
    *,
    method: str,
    baseline: str,
    split: str,
    measure: str,
    groups: GroupedDeltas | None = None,
    overlap: float = 0.0,
) -> Difference | None:
    """Return the difference over the seeds that both have, before it is judged, or ``None`` if there are none.

    Args:
        values: of the method, by seed.
        others: of the baseline, by seed.
        method: its name.
        baseline: its name.
        split: the test set.
        measure: name of the measure.
        groups: the same differences by group of images, where those are to be taken for drawn.
        overlap: of training sets under different seeds, see :func:`estimate_pairs`.
    """
    seeds = tuple(sorted(values.keys() & others.keys()))
    deltas = np.array([values[seed] - others[seed] for seed in seeds])
    if not seeds:
        return None
    made = Difference(method, baseline, split, measure, seeds, float(deltas.mean()))
    if len(seeds) < 2:
        return made
    size = max(abs(value) for each in (values, others) for value in (each[seed] for seed in seeds))
    estimate = estimate_pairs(deltas, size=size, overlap=overlap)
    interval: Interval | None
    if groups is None or estimate.errors == 0:
        interval = bootstrap_mean(deltas, size=size)
    else:
        estimate, interval = estimate_groups(groups), bootstrap_groups(groups)
    is_known = isfinite(float(estimate.errors))
    return replace(
        made,
        estimate=estimate,
        bootstrap=interval,
        t=estimate.interval(_CONFIDENCE) if is_known else None,
        t90=estimate.interval(_WITHIN_CONFIDENCE) if is_known else None,
        num_groups=0 if groups is None else groups.smallest,
    )


def judge_differences(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences of one family with their p-values, and what can be said of each.

    Those of fewer than two pairs are no tests, and come back as they are.
    """
    tested = [(each, each.estimate) for each in differences if each.estimate is not None]
    if not tested:
        return list(differences)
    family = Estimate(*(np.array(column, dtype=np.float64) for column in zip(*(e for _, e in tested), strict=True)))
    margins = np.array([np.nan if each.margin is None else each.margin for each, _ in tested])
    found = decide(family, margins=margins, looks=np.array([each.looks for each, _ in tested]))
    judged = {}
    for (each, _), values in zip(tested, zip(*found, strict=True), strict=True):
        p_values, said = (None if np.isnan(value) else float(value) for value in values[:4]), map(bool, values[4:])
        names = ("p", "p_holm", "p_within", "p_within_holm", "is_above", "is_below", "is_within")
        judged[id(each)] = replace(each, **dict(zip(names, (*p_values, *said), strict=True)))  # type: ignore[arg-type]
    return [judged.get(id(each), each) for each in differences]


def find_sensitivity(differences: Sequence[Difference], *, num_tests: int) -> Sensitivity | None:
    """Return the smallest difference that the test of these contrasts would have seen with a power of 80 %.

    Args:
        differences: by one measure on one set.
        num_tests: of their family.

    Returns:
        ``None`` where no standard error is known.
    """
    tested = [(each, each.estimate) for each in differences if each.estimate is not None]
    if not tested:
        return None
    names = [(each.method, each.baseline) for each, _ in tested]
    # Two contrasts with a method in common share the variance of that one, half of theirs if all vary alike.
    shared = np.array([[1.0 if a == b else 0.5 if {*a} & {*b} else 0.0 for a in names] for b in names])
    errors, freedoms = (
        np.array([float(each) for each in column]) for column in list(zip(*(e for _, e in tested), strict=True))[1:]
    )
    looks = max(each.looks for each, _ in tested)
    return smallest_difference(errors, freedoms, shared, num_tests=num_tests * looks)


def paired_t(deltas: Float[np.ndarray, " pairs"], *, size: float = 0.0) -> tuple[Interval, float | None]:
    """Return the 95 % interval of the mean of normal differences, and the p-value of a mean of zero.

    With ``n`` differences of mean ``m`` and sample standard deviation ``s``: ``m ± t(0.975, n - 1) s / sqrt(n)``. Where
    all are equal the interval is that value, and the p-value is not defined.

    Args:
        deltas: shape ``(pairs,)``; at least two.
        size: largest of the numbers that they are differences of, against which rounding is judged.

    Example:
        >>> interval, p = paired_t(np.array([1.0, 2.0, 3.0]))
        >>> [round(end, 3) for end in interval], round(p, 4)
        ([-0.484, 4.484], 0.0742)
    """
    estimate = estimate_pairs(deltas, size=size)
    p = float(decide(Estimate(*(each[None] for each in estimate))).p[0])
    return estimate.interval(_CONFIDENCE), None if np.isnan(p) else p


def bootstrap_mean(deltas: Float[np.ndarray, " pairs"], *, size: float = 0.0, seed: int = 0) -> Interval:
    """Return the 95 % bootstrap interval of the mean of differences.

    Bias-corrected and accelerated (Efron, Better Bootstrap Confidence Intervals, JASA 82, 1987,
    https://doi.org/10.2307/2289144; computed by scipy, 9,999 resamples), or by percentiles where that is not defined.
    Where all differences are equal it is that value. Of few pairs it is too narrow: it knows no differences but those
    that were seen.

    Args:
        deltas: shape ``(pairs,)``; at least two.
        size: see :func:`paired_t`.
        seed: of the resamples.

    Example:
        >>> bootstrap_mean(np.array([0.5, 0.5, 0.5]))
        Interval(low=0.5, high=0.5)
    """
    if estimate_pairs(deltas, size=size).errors == 0:
        return Interval(float(deltas.mean()), float(deltas.mean()))
    from scipy.stats import bootstrap

    for method in ("BCa", "percentile"):
        with np.errstate(all="ignore"):
            found = bootstrap(
                (deltas,),
                np.mean,
                n_resamples=_RESAMPLES,
                confidence_level=_CONFIDENCE,
                method=method,
                random_state=np.random.default_rng(seed),
            ).confidence_interval
        if isfinite(found.low) and isfinite(found.high):
            break
    return Interval(float(found.low), float(found.high))
