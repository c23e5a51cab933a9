"""Lines from what can be measured without targets to the measure of a task, fitted over sets that have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from auxo.errors import DataError, ShapeError

Percentages: TypeAlias = Sequence[float] | NDArray[np.floating]
Scale: TypeAlias = Literal["percent", "probit"]

_EPSILON = 1.35
_ITERATIONS = 500
_TOLERANCE = 1e-9
_SMALLEST_SCALE = 1e-9
_CLOSEST = 0.1


@dataclass(frozen=True)
class FeatureRegression:
    """A line from features to a measure, such as the accuracy, for one trained network and one of its heads.

    Args:
        slopes: one per feature; in units of ``scale``.
        intercept: the measure where all features are zero, in units of ``scale``; may lie outside its range.
        scale: ``"percent"``, or ``"probit"``: normal quantiles of features and measure, both kept 0.1 points away from
            0 and 100 %.
    """

    slopes: tuple[float, ...]
    intercept: float
    scale: Scale = "percent"

    def predict(self, features: Percentages) -> NDArray[np.float64]:
        """Return the measure to expect on sets of images.

        Args:
            features: shape ``(sets, features)``, or ``(sets,)`` for a single one; percent, in [0, 100].

        Returns:
            Shape ``(sets,)``; percent, clipped to [0, 100].

        Example:
            >>> FeatureRegression(slopes=(1.5,), intercept=-40.0).predict([80.0, 95.0, 20.0]).tolist()
            [80.0, 100.0, 0.0]
        """
        measured = _check_columns("features", features)
        if measured.shape[1] != len(self.slopes):
            fix = "give those it was fitted to"
            raise ShapeError(f"{len(self.slopes)} features of each set", str(measured.shape[1]), fix)
        line = to_scale(measured, self.scale) @ np.array(self.slopes) + self.intercept
        return from_scale(line, self.scale)


def fit_regression(
    features: Percentages, measured: Percentages, *, scale: Scale = "percent", robust: bool = True
) -> FeatureRegression:
    """Fit ``measure = slopes · features + intercept`` over sets of which both are known.

    The line holds for the network that both were measured with and for no other: never pool sets of several checkpoints
    or heads. With rotation accuracy as the one feature it is the regression of Deng et al., who fit several
    hundred sets made from one labelled set; their estimates settle above about two hundred.

    The robust fit minimises Huber's loss and its scale together, as scikit-learn's ``HuberRegressor`` does,

        sum over sets of  s + H((measure - line) / s) s,  H(z) = z²  for |z| < 1.35, else  2.70 |z| - 1.35²,

    by reweighted least squares, without scikit-learn's default ridge penalty.

    Source: Deng, Gould, Zheng, What Does Rotation Prediction Tell Us about Classifier Accuracy under Varying Testing
        Environments?, ICML 2021, Section 4 (https://arxiv.org/abs/2106.05961); the loss: Owen, A robust hybrid of lasso
        and ridge regression, 2007. Several features, the probit scale and the clipping of predictions are ours.

    Args:
        features: shape ``(sets, features)``, or ``(sets,)`` for a single one; percent, in [0, 100]. Rotation accuracy
            counts all four turns of every image whose turn was told, in eval mode.
        measured: shape ``(sets,)``; the measure, such as the images whose class was told; percent, in [0, 100].
        scale: of the line; see :class:`FeatureRegression`.
        robust: Huber's loss, which lets a set count linearly once it is 1.35 scales off the line (95 % as efficient as
            least squares on normal errors); else ordinary least squares.

    Raises:
        ShapeError: the two differ in length, are of another shape, are not finite or leave [0, 100].
        DataError: no feature has two different values.

    Example:
        >>> line = fit_regression([60.0, 70.0, 80.0, 90.0], [50.0, 65.0, 80.0, 95.0])
        >>> round(line.slopes[0], 3), round(line.intercept, 2)
        (1.5, -40.0)
    """
    x, y = _check_columns("features", features), _check_percentages("measured", measured)
    _require_same_length(x, y)
    if (np.ptp(x, axis=0) == 0).all():
        got = f"{len(x)} sets with one value of each feature"
        raise DataError("at least two different values of a feature", got, "measure more sets")
    weights = np.ones((1, len(x)))
    lines = fit_resampled(x, y, weights, scale=scale, robust=robust)
    return FeatureRegression(tuple(lines[0, :-1].tolist()), float(lines[0, -1]), scale)


def fit_resampled(
    features: NDArray[np.float64],
    measured: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    scale: Scale = "percent",
    robust: bool = True,
) -> NDArray[np.float64]:
    """Fit many lines to the same sets, each with weights of its own, at once.

    Args:
        features: shape ``(sets, features)``; percent.
        measured: shape ``(sets,)``; the measure, percent.
        weights: shape ``(lines, sets)``; how often a set counts, >= 0: all ones, or the counts of a bootstrap's draws.
        scale: see :func:`fit_regression`.
        robust: see :func:`fit_regression`.

    Returns:
        Shape ``(lines, features + 1)``: slopes, then the intercept, in units of ``scale``.
    """
    x, y = to_scale(features, scale), to_scale(measured, scale)
    # In units of their own spread, so that the equations are well conditioned; a constant feature has slope zero.
    centre, spread = x.mean(0), np.where(np.ptp(x, axis=0) > 0, x.std(0), 1.0)
    level, height = y.mean(), y.std() or 1.0
    design = np.column_stack([(x - centre) / spread, np.ones(len(x))])
    target = (y - level) / height
    fitted = _fit_least_squares(design, target, weights)
    if robust:
        fitted = _fit_huber(design, target, weights, fitted.line)
    slopes = fitted.line[:, :-1] * height / spread
    intercept = fitted.line[:, -1] * height + level - slopes @ centre
    return np.column_stack([slopes, intercept])


class _Fit(NamedTuple):
    """Lines in standard units, shape ``(lines, features + 1)``, and their residuals, shape ``(lines, sets)``."""

    line: NDArray[np.float64]
    residuals: NDArray[np.float64]


def _fit_least_squares(design: NDArray[np.float64], target: NDArray[np.float64], weights: NDArray[np.float64]) -> _Fit:
    """Solve the weighted normal equations of every line; of many solutions the shortest."""
    gram = np.einsum("bn,ni,nj->bij", weights, design, design, optimize=True)
    moments = (weights * target) @ design
    line = np.einsum("bij,bj->bi", np.linalg.pinv(gram, hermitian=True), moments)
    return _Fit(line, target - line @ design.T)


def _fit_huber(
    design: NDArray[np.float64],
    target: NDArray[np.float64],
    weights: NDArray[np.float64],
    line: NDArray[np.float64],
) -> _Fit:
    """Minimise Huber's loss with its scale: the best scale for the residuals, then weights for that scale, in turn."""
    fit = _Fit(line, target - line @ design.T)
    sigma = np.sqrt((weights * fit.residuals**2).sum(1) / weights.sum(1)).clip(_SMALLEST_SCALE)[:, None]
    for _ in range(_ITERATIONS):
        size = np.abs(fit.residuals)
        is_far = size > _EPSILON * sigma
        near = (weights * ~is_far * size**2).sum(1)
        rest = weights.sum(1) - _EPSILON**2 * (weights * is_far).sum(1)
        # Where more than half lies far, the scale has no stationary point at this split of the sets, and grows.
        best = np.sqrt(near / np.where(rest > 0, rest, 1.0))[:, None]
        sigma = np.where(rest[:, None] > 0, best, 2 * sigma).clip(_SMALLEST_SCALE)
        pull = np.minimum(1.0, _EPSILON * sigma / size.clip(_SMALLEST_SCALE))
        new = _fit_least_squares(design, target, weights * pull)
        change = float(np.abs(new.line - fit.line).max())
        fit = new
        if change < _TOLERANCE:
            break
    return fit


def to_scale(values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """Return percentages in units of the scale."""
    if scale == "percent":
        return values
    return np.asarray(ndtri(np.clip(values, _CLOSEST, 100 - _CLOSEST) / 100), dtype=np.float64)


def from_scale(values: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
    """Return percentages in [0, 100] of numbers in units of the scale."""
    percent = values if scale == "percent" else 100 * np.asarray(ndtr(values), dtype=np.float64)
    return np.clip(percent, 0.0, 100.0)


def rmse(estimates: Percentages, truths: Percentages) -> float:
    """Return the root mean squared error of estimates over sets, in percentage points.

    Args:
        estimates: shape ``(sets,)``; percent.
        truths: shape ``(sets,)``; percent.

    Raises:
        ShapeError: the two differ in length, are empty, not one-dimensional, not finite or leave [0, 100].

    Example:
        >>> rmse([90.0, 80.0], [93.0, 84.0])
        3.5355339059327378
    """
    estimated, true = _check_percentages("estimates", estimates), _check_percentages("truths", truths)
    _require_same_length(estimated, true)
    return float(np.sqrt(np.mean(np.square(estimated - true))))


def _check_columns(name: str, values: Percentages) -> NDArray[np.float64]:
    """Return ``values`` as float64 of shape (sets, features) after checking that they are percentages."""
    array = np.asarray(values, dtype=np.float64)
    _check_percentages(name, array.reshape(-1) if array.ndim == 2 else array)
    return array.reshape(len(array), -1)


def _check_percentages(name: str, values: Percentages) -> NDArray[np.float64]:
    """Return ``values`` as float64 after checking that they are percentages."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ShapeError(f"{name} of shape (sets,)", f"shape {array.shape}", "give one number per set")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 100:
        wrong = next(value for value in array.tolist() if not 0 <= value <= 100)
        raise ShapeError(f"{name} in [0, 100] percent", str(wrong), "give percentages")
    return array


def _require_same_length(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    """Refuse pairs that do not pair."""
    if len(one) != len(other):
        raise ShapeError("as many values in both", f"{len(one)} and {len(other)}", "pair them, one of each per set")
