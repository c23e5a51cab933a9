"""Estimate the accuracy on images without labels from the accuracy of rotation prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import HuberRegressor, LinearRegression

from auxo.errors import DataError, ShapeError

__all__ = ["Percentages", "RotationRegression", "fit_rotation_regression", "rmse"]

Percentages: TypeAlias = Sequence[float] | NDArray[np.floating]

_HUBER_EPSILON = 1.35
_HUBER_ITERATIONS = 1000


@dataclass(frozen=True)
class RotationRegression:
    """A line from rotation accuracy to class accuracy, for one trained network and one of its class heads.

    Args:
        slope: percentage points of class accuracy per percentage point of rotation accuracy.
        intercept: class accuracy in percent at a rotation accuracy of zero; may lie outside [0, 100].
    """

    slope: float
    intercept: float

    def predict(self, rotation_accuracy: Percentages) -> NDArray[np.float64]:
        """Return the class accuracy to expect on sets of images.

        Args:
            rotation_accuracy: shape ``(sets,)``; percent, in [0, 100].

        Returns:
            Shape ``(sets,)``; percent, clipped to [0, 100].

        Example:
            >>> RotationRegression(slope=1.5, intercept=-40.0).predict([80.0, 95.0, 20.0]).tolist()
            [80.0, 100.0, 0.0]
        """
        line = self.slope * _percentages("rotation_accuracy", rotation_accuracy) + self.intercept
        return np.clip(line, 0.0, 100.0)


def fit_rotation_regression(
    rotation_accuracy: Percentages, class_accuracy: Percentages, *, robust: bool = True
) -> RotationRegression:
    """Fit ``class accuracy = slope * rotation accuracy + intercept`` over labelled sets.

    The line holds for the network that both accuracies were measured with and for no other: never pool sets of several
    checkpoints or class heads. Deng et al. fit several hundred sets made from one labelled set; their estimates settle
    above about two hundred.

    Source: Deng, Gould, Zheng, What Does Rotation Prediction Tell Us about Classifier Accuracy under Varying Testing
        Environments?, ICML 2021, Section 4 (https://arxiv.org/abs/2106.05961). The clipping of
        predictions is ours, and so is the absence of the small ridge penalty that scikit-learn has by default.

    Args:
        rotation_accuracy: shape ``(sets,)``; percent of all four turns of every image whose turn was told, in eval
            mode; in [0, 100].
        class_accuracy: shape ``(sets,)``; percent of the images whose class was told; in [0, 100].
        robust: the paper's Huber regression, which lets a set count linearly once it is 1.35 scales off the line
            (95 % as efficient as least squares on normal errors); else ordinary least squares.

    Raises:
        ShapeError: the two differ in length, are not one-dimensional, are not finite or leave [0, 100].
        DataError: fewer than two different rotation accuracies.

    Example:
        >>> line = fit_rotation_regression([60.0, 70.0, 80.0, 90.0], [50.0, 65.0, 80.0, 95.0])
        >>> round(line.slope, 3), round(line.intercept, 2)
        (1.5, -40.0)
    """
    rotation = _percentages("rotation_accuracy", rotation_accuracy)
    classes = _percentages("class_accuracy", class_accuracy)
    _require_same_length(rotation, classes)
    if len(np.unique(rotation)) < 2:
        got = f"{len(rotation)} sets with {len(np.unique(rotation))} different values"
        raise DataError("at least two different rotation accuracies", got, "measure more sets")
    # Both fitted in units of their own spread, so that the optimiser of Huber's loss starts near its end.
    centre, spread = rotation.mean(), rotation.std()
    level, height = classes.mean(), classes.std() or 1.0
    regressor = (
        HuberRegressor(epsilon=_HUBER_EPSILON, alpha=0.0, max_iter=_HUBER_ITERATIONS, tol=1e-9)
        if robust
        else LinearRegression()
    )
    regressor.fit(((rotation - centre) / spread).reshape(-1, 1), (classes - level) / height)
    slope = float(regressor.coef_[0]) * height / spread
    intercept = float(regressor.intercept_) * height + level - slope * centre
    return RotationRegression(slope=float(slope), intercept=float(intercept))


def rmse(estimates: Percentages, truths: Percentages) -> float:
    """Return the root mean squared error of accuracy estimates over sets, in percentage points.

    Args:
        estimates: shape ``(sets,)``; percent.
        truths: shape ``(sets,)``; percent.

    Raises:
        ShapeError: the two differ in length, are empty, not one-dimensional, not finite or leave [0, 100].

    Example:
        >>> rmse([90.0, 80.0], [93.0, 84.0])
        3.5355339059327378
    """
    estimated, true = _percentages("estimates", estimates), _percentages("truths", truths)
    _require_same_length(estimated, true)
    return float(np.sqrt(np.mean(np.square(estimated - true))))


def _percentages(name: str, values: Percentages) -> NDArray[np.float64]:
    """Return ``values`` as float64 after checking that they are percentages."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ShapeError(f"{name} of shape (sets,)", f"shape {array.shape}", "give one number per set")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 100:
        wrong = next(value for value in array.tolist() if not 0 <= value <= 100)
        raise ShapeError(f"{name} in [0, 100] percent", str(wrong), "give accuracies in percent")
    return array


def _require_same_length(one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
    """Refuse pairs that do not pair."""
    if len(one) != len(other):
        raise ShapeError("as many values in both", f"{len(one)} and {len(other)}", "pair them, one of each per set")
