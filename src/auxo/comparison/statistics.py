"""Paired differences between methods: intervals and p-values, corrected for their number."""

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
from scipy.special import stdtr, stdtrit

from auxo.tasks import Interval

_RESAMPLES = 9999
_CONFIDENCE = 0.95
_ROUNDING = 1e-12  # thousands of times what a subtraction in float64 loses


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
        bootstrap: 95 % interval of the mean, or ``None`` of fewer than two pairs.
        t: 95 % interval of the mean if differences are normal, or ``None`` of fewer than two pairs.
        p: two-sided p-value of the paired t-test; ``None`` where it is not defined, of fewer than two pairs or where
            all differences are equal.
        p_holm: the same, corrected for all differences that were looked at.
    """

    method: str
    baseline: str
    split: str
    measure: str
    seeds: tuple[int, ...]
    mean: float
    bootstrap: Interval | None = None
    t: Interval | None = None
    p: float | None = None
    p_holm: float | None = None


def paired_difference(
    values: dict[int, float], others: dict[int, float], *, method: str, baseline: str, split: str, measure: str
) -> Difference | None:
    """Return the difference over the seeds that both have, without correction, or ``None`` if there are none.

    Args:
        values: of the method, by seed.
        others: of the baseline, by seed.
        method: its name.
        baseline: its name.
        split: the test set.
        measure: name of the measure.
    """
    seeds = tuple(sorted(values.keys() & others.keys()))
    deltas = np.array([values[seed] - others[seed] for seed in seeds])
    if not seeds:
        return None
    made = Difference(method, baseline, split, measure, seeds, float(deltas.mean()))
    if len(seeds) < 2:
        return made
    size = max(abs(value) for each in (values, others) for value in (each[seed] for seed in seeds))
    interval, p = paired_t(deltas, size=size)
    return replace(made, bootstrap=bootstrap_mean(deltas, size=size), t=interval, p=p)


def paired_t(deltas: np.ndarray, *, size: float = 0.0) -> tuple[Interval, float | None]:
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
    mean, error = float(deltas.mean()), float(deltas.std(ddof=1)) / len(deltas) ** 0.5
    if _is_constant(deltas, size):
        return Interval(mean, mean), None
    freedom = len(deltas) - 1
    half = float(stdtrit(freedom, 0.5 + _CONFIDENCE / 2)) * error
    return Interval(mean - half, mean + half), float(2 * stdtr(freedom, -abs(mean) / error))


def bootstrap_mean(deltas: np.ndarray, *, size: float = 0.0, seed: int = 0) -> Interval:
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
    if _is_constant(deltas, size):
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


def _is_constant(deltas: np.ndarray, size: float) -> bool:
    """Return whether all differences are equal but for rounding, which grows with what was subtracted."""
    return bool(np.ptp(deltas) <= _ROUNDING * max(size, float(np.abs(deltas).max())))
