"""The estimators: lines from features of a set to its measure, given by theory or fitted over meta sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from auxo.errors import DataError
from auxo.estimation.regression import Scale, fit_resampled, from_scale, to_scale

Floats = NDArray[np.float64]

_SEVERAL = ("confidence", "atc_entropy", "agreement")


@dataclass(frozen=True)
class Estimator:
    """How the measure of a set follows from features.

    Args:
        name: of the estimator.
        features: that it reads.
        kind: ``"mean"``, the feature itself; ``"difference"``, the measure on validation less the feature's fall from
            validation; ``"regression"``, a Huber regression over meta sets.
        scale: of a regression.
        is_any: whether it does without agreement where a method has no second class head.
    """

    name: str
    features: tuple[str, ...]
    kind: Literal["mean", "difference", "regression"]
    scale: Scale = "percent"
    is_any: bool = False


ESTIMATORS = (
    Estimator("rotation", ("rotation",), "regression"),
    Estimator("confidence", ("confidence",), "mean"),
    Estimator("doc", ("confidence",), "difference"),
    Estimator("doc_regression", ("confidence",), "regression"),
    Estimator("atc_confidence", ("atc_confidence",), "mean"),
    Estimator("atc_entropy", ("atc_entropy",), "mean"),
    Estimator("agreement", ("agreement",), "regression", scale="probit"),
    Estimator("combined", _SEVERAL, "regression", is_any=True),
    Estimator("combined_rotation", ("rotation", *_SEVERAL), "regression", is_any=True),
    Estimator("cot", ("cot",), "mean"),
)
"""In the order of the table.

Source:
    rotation: Deng, Gould, Zheng, ICML 2021 (arXiv 2106.05961).
    confidence, doc, doc_regression: Guillory, Shankar, Ebrahimi, Darrell, Schmidt, Predicting with Confidence on Unseen
        Distributions, ICCV 2021 (arXiv 2107.03315). A line in the mean confidence is one in its difference from
        validation; theirs is fitted by least squares.
    atc_confidence, atc_entropy: Garg et al., ICLR 2022 (arXiv 2201.04234).
    agreement: after Baek, Jiang, Raghunathan, Kolter, Agreement-on-the-Line, NeurIPS 2022 (arXiv 2206.13089), whose
        lines run over pairs of many networks; ours runs over meta sets, for two heads of one network.
    combined, combined_rotation: ours, without agreement where there is no second head. The features were chosen by the
        error on held-out transformations of two runs on digits, before any label of an unseen set was read; agreement
        after four small changes (Deng, Gould, Zheng, NeurIPS 2022) was tried there too, and did not lower it.
    cot: Lu et al., NeurIPS 2023 (arXiv 2305.15640), see :mod:`auxo.estimation.transport`.
"""


@dataclass(frozen=True)
class MetaTable:
    """What was measured on the meta sets.

    Args:
        features: by name, each of shape ``(sets,)``; percent.
        measured: shape ``(sets,)``; the measure, percent. The first set is that of the images as they are.
        families: of the transformations of each set.
    """

    features: Mapping[str, Floats]
    measured: Floats
    families: Sequence[frozenset[str]]

    def columns(self, names: Sequence[str]) -> Floats:
        """Return features side by side, shape ``(sets, features)``."""
        return np.column_stack([self.features[name] for name in names])


@dataclass(frozen=True)
class FittedEstimator:
    """An estimator of one network, with what it gets wrong on transformations that it was not fitted to.

    Args:
        estimator: what it is.
        features: that it reads.
        line: shape ``(features + 1,)``; slopes and intercept.
        resampled: shape ``(resamples, features + 1)``; lines of bootstrap samples of the meta sets.
        low: shape ``(features,)``; smallest value on the meta sets, percent.
        high: shape ``(features,)``; largest.
        errors: by family of transformations, root mean squared error in points on its sets of a line fitted to the
            sets without it.
        held_out: shape ``(predictions, 2)``; those estimates and the values that they missed, percent.
    """

    estimator: Estimator
    features: tuple[str, ...]
    line: Floats
    resampled: Floats
    low: Floats
    high: Floats
    errors: Mapping[str, float]
    held_out: Floats

    @property
    def error(self) -> float:
        """Root mean squared error over the families, which count alike; points."""
        return float(np.sqrt(np.mean(np.square(list(self.errors.values())))))

    def estimate(self, features: Floats) -> Floats:
        """Return the measure in percent of sets, whose features have shape ``(sets, features)``, percent."""
        return _predict_values(self.line, features, self.estimator.scale)

    def interval(self, features: Floats, *, confidence: float, generator: np.random.Generator) -> tuple[float, float]:
        """Return where the measure of a set plausibly lies.

        Every sample takes a line of the bootstrap over meta sets, features of a bootstrap over the images, and adds
        what a held-out estimate missed; of those, the third whose estimates are nearest to this set's are drawn from.

        Args:
            features: shape ``(resamples, features)``; of bootstrap samples of the set's images, percent.
            confidence: probability, in (0, 1).
            generator: draws what is missed.

        Returns:
            Percentages in [0, 100].
        """
        estimates = _predict_values(self.resampled, features, self.estimator.scale)
        distance = np.abs(self.held_out[:, 0] - estimates.mean())
        near = self.held_out[np.argsort(distance, kind="stable")[: max(1, len(self.held_out) // 3)]]
        missed = near[:, 1] - near[:, 0]
        drawn = np.clip(estimates + missed[generator.integers(len(missed), size=len(estimates))], 0.0, 100.0)
        low, high = np.quantile(drawn, [0.5 - confidence / 2, 0.5 + confidence / 2])
        return float(low), float(high)

    def outside(self, features: Floats, slack: Floats) -> str | None:
        """Return why a fitted line says nothing of a set, or ``None`` where it does.

        Args:
            features: shape ``(features,)``; percent.
            slack: shape ``(features,)``; how far each may lie beyond the meta sets by chance, points.
        """
        if self.estimator.kind != "regression":
            return None
        ranges = zip(self.features, features, slack, self.low, self.high, strict=True)
        for name, value, chance, low, high in ranges:
            if not low - chance <= value <= high + chance:
                return f"{name} {value:.1f} % lies outside the meta sets' {low:.1f} to {high:.1f} %"
        return None


def fit_estimator(estimator: Estimator, table: MetaTable, weights: Floats) -> FittedEstimator:
    """Fit an estimator, and measure what it gets wrong on each family of transformations left out of its fit.

    Args:
        estimator: what to fit; one that is no regression is as theory has it, and is measured in the same way.
        table: of the meta sets.
        weights: shape ``(resamples, sets)``; how often each set is in each bootstrap sample.

    Raises:
        DataError: the method lacks a feature that the estimator reads, or it is the same on all meta sets.
    """
    names = tuple(name for name in estimator.features if name in table.features)
    optional = {"agreement"} if estimator.is_any else set()
    missing = next((name for name in estimator.features if name not in {*names, *optional}), None)
    if missing is not None:
        raise DataError(f"the feature {missing}", "none of this run", _FIXES.get(missing, "use another estimator"))
    x, y = table.columns(names), table.measured
    if (np.ptp(x, axis=0) == 0).all():
        raise DataError(f"{names[0]} that differs between the meta sets", f"{x[0, 0]:.1f} % on all", "make more sets")
    whole = np.ones((1, len(y)))
    families = sorted(set().union(*table.families))
    is_held = {family: np.array([family in each for each in table.families]) for family in families}
    lines = _fit_lines(estimator, x, y, np.stack([whole[0], *(np.where(held, 0.0, 1.0) for held in is_held.values())]))
    pairs = {
        family: np.column_stack([_predict_values(line, x[held], estimator.scale), y[held]])
        for (family, held), line in zip(is_held.items(), lines[1:], strict=True)
    }
    return FittedEstimator(
        estimator=estimator,
        features=names,
        line=lines[0],
        resampled=_fit_lines(estimator, x, y, weights),
        low=x.min(0),
        high=x.max(0),
        errors={family: float(np.sqrt(np.mean((pair[:, 0] - pair[:, 1]) ** 2))) for family, pair in pairs.items()},
        held_out=np.concatenate(list(pairs.values())),
    )


_FIXES = {
    "rotation": "no head tells quarter turns of whole images; train with ossl or rotation",
    "agreement": "there is no second class head; train with ossl",
    "cot": "the task does not know the proportions of the classes in training",
}


def _fit_lines(estimator: Estimator, x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return slopes and intercept for every row of weights, shape ``(lines, features + 1)``."""
    if estimator.kind == "regression":
        return fit_resampled(x, y, weights, scale=estimator.scale)
    intercept = y[0] - x[0, 0] if estimator.kind == "difference" else 0.0
    return np.tile([1.0, intercept], (len(weights), 1))


def _predict_values(lines: Floats, features: Floats, scale: Scale) -> Floats:
    """Return percentages of a line for every row of features, or of the line of each row."""
    return from_scale((to_scale(features, scale) * lines[..., :-1]).sum(-1) + lines[..., -1], scale)
