"""The measure to expect on unlabelled images: fit the estimators on meta sets, then ask them about a set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from auxo.data import AbstractSource, ValSplit, stratified_indices
from auxo.errors import DataError
from auxo.estimation.config import LEAST_IMAGES, EstimationConfig
from auxo.estimation.estimators import ESTIMATORS, FittedEstimator, MetaTable, fit_estimator
from auxo.estimation.indicators import Indicators, Thresholds, fit_thresholds, read_chunks, read_indicators
from auxo.estimation.meta_sets import MetaSet, corrupted_sets, draw_meta_sets, render
from auxo.evaluation import Reader
from auxo.random import derive_seed

_NORMAL_QUANTILE = 1.96


@dataclass(frozen=True)
class Estimate:
    """What one estimator says of one set.

    Args:
        name: of the set.
        estimator: its name.
        n: images of the set.
        features: that it read, in percent by name.
        value: of the measure to expect, in percent; ``None`` where the estimator is refused.
        low: lower end of its interval.
        high: upper end.
        refused: why there is no value, or ``None``.
        is_default: whether it is the one to be used for this set.
    """

    name: str
    estimator: str
    n: int
    features: Mapping[str, float]
    value: float | None
    low: float | None
    high: float | None
    refused: str | None
    is_default: bool = False


@dataclass(frozen=True)
class Estimation:
    """Estimators fitted to one network's meta sets.

    Args:
        config: options.
        seed: of all draws.
        measure: name of what is estimated, the task's primary measure.
        num_images: labelled validation images that every meta set is made from.
        sets: how each was made.
        table: what was measured on them.
        thresholds: of ATC.
        fitted: estimators by name.
        unavailable: estimators that this network has not, each with the reason.
    """

    config: EstimationConfig
    seed: int
    measure: str
    num_images: int
    sets: Sequence[MetaSet]
    table: MetaTable
    thresholds: Thresholds
    fitted: Mapping[str, FittedEstimator]
    unavailable: Mapping[str, str]

    @property
    def ranking(self) -> list[str]:
        """Names of the estimators, the one with the smallest error on held-out families of transformations first."""
        return sorted(self.fitted, key=lambda name: self.fitted[name].error)

    def estimate(self, indicators: Indicators, *, name: str) -> list[Estimate]:
        """Return what every estimator says of a set, in the order of :data:`ESTIMATORS`.

        The default is the first of :attr:`ranking` that is not refused.

        Args:
            indicators: of its images, from :func:`read_source_indicators`.
            name: of the set; its bootstrap has a stream of that name.
        """
        by_image = {key: 100 * values for key, values in indicators.features(self.thresholds).items()}
        generator = np.random.default_rng(derive_seed(self.seed, "estimate", "pictures", name))
        count, names = len(indicators), list(by_image)
        matrix = np.column_stack([by_image[key] for key in names])
        draws = [matrix[generator.integers(count, size=count)].mean(0) for _ in range(self.config.resamples)]
        resampled = np.stack(draws)
        # By chance, of these images and of those of the meta sets: two standard errors, and one image, for features
        # that no image lacks or has.
        parts = 1 / count + 1 / self.num_images
        slack = _NORMAL_QUANTILE * matrix.std(0) * parts**0.5 + 100 / min(count, self.num_images)
        found = []
        for estimator in ESTIMATORS:
            if estimator.name in self.unavailable:
                reason = self.unavailable[estimator.name]
                found.append(Estimate(name, estimator.name, count, {}, None, None, None, reason))
                continue
            fitted = self.fitted[estimator.name]
            columns = [names.index(key) for key in fitted.features]
            means = matrix.mean(0)[columns]
            features = dict(zip(fitted.features, means.tolist(), strict=True))
            refused = fitted.outside(means, slack[columns])
            if refused is not None:
                found.append(Estimate(name, estimator.name, count, features, None, None, None, refused))
                continue
            value = float(fitted.estimate(means[None])[0])
            confidence = self.config.confidence
            low, high = fitted.interval(resampled[:, columns], confidence=confidence, generator=generator)
            found.append(Estimate(name, estimator.name, count, features, value, low, high, None))
        usable = {each.estimator for each in found if each.refused is None}
        default = next(estimator for estimator in self.ranking if estimator in usable)
        return [replace(each, is_default=each.estimator == default) for each in found]


def fit_estimation(
    reader: Reader,
    split: ValSplit,
    *,
    seed: int,
    config: EstimationConfig | None = None,
    observer: Callable[[int, int], None] = lambda _done, _total: None,
) -> Estimation:
    """Fit every estimator that a network allows on transformed copies of its validation images.

    Validation images, because training images are told too well, and because the test set is there to judge with: the
    estimators are fitted to its targets. Where a checkpoint was selected on them, what they say is a little optimistic.

    Args:
        reader: of the trained network.
        split: its validation images, with the answers that are right.
        seed: the run's; every draw has a stream of its own.
        config: options.
        observer: is told how many of how many sets are measured.

    Raises:
        ConfigError: no head predicts, the task has not one answer per image, or its measure is no mean over images.
        DataError: there are too few images.
        NonFiniteError: the network's logits are not finite.
        ShapeError: the images have other than three channels.

    Cost: for each set a pass over the images for the answers, and four for rotation where there is a rotation head.
    """
    reader.require_head()
    target = reader.require_answers("estimation").name
    config = EstimationConfig() if config is None else config
    images, targets = _draw_images(split.source, target, config.images, seed=derive_seed(seed, "estimate", "images"))
    sets = draw_meta_sets(config.sets, seed=derive_seed(seed, "estimate", "sets"))
    sets += corrupted_sets(len(sets)) if config.corruptions else []
    thresholds = fit_thresholds(read_indicators(reader, images, name=split.name, targets=targets))
    rows, measured = [], []
    for done, made in enumerate(sets, start=1):
        changed = render(images, made, seed=derive_seed(seed, "estimate", "render"))
        name = f"{split.name} under {', '.join(step.name for step in made.steps) or 'nothing'}"
        found = read_indicators(reader, changed, name=name, targets=targets)
        rows.append({key: 100 * float(values.mean()) for key, values in found.features(thresholds).items()})
        measured.append(100 * float(found.known_values.mean()))
        observer(done, len(sets))
    table = MetaTable(
        features={name: np.array([row[name] for row in rows]) for name in rows[0]},
        measured=np.array(measured),
        families=[frozenset(step.family for step in made.steps) for made in sets],
    )
    fitted, unavailable = _fit_all(table, resamples=config.resamples, seed=seed)
    return Estimation(config, seed, reader.task.primary, len(images), sets, table, thresholds, fitted, unavailable)


def _fit_all(table: MetaTable, *, resamples: int, seed: int) -> tuple[dict[str, FittedEstimator], dict[str, str]]:
    """Return the estimators by name, and why some cannot be fitted."""
    generator = np.random.default_rng(derive_seed(seed, "estimate", "resamples"))
    count = len(table.measured)
    weights = generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
    fitted, unavailable = {}, {}
    for estimator in ESTIMATORS:
        try:
            fitted[estimator.name] = fit_estimator(estimator, table, weights)
        except DataError as error:
            unavailable[estimator.name] = error.fix
    return fitted, unavailable


def _draw_images(
    source: AbstractSource, target: str, most: int, *, seed: int
) -> tuple[UInt8[Tensor, "n channels height width"], dict[str, Tensor]]:
    """Return at most so many images with their targets, in the proportions of one of these."""
    indices = torch.arange(len(source))
    if len(source) > most:
        (indices,) = stratified_indices(source.columns[target].values, [most], seed=seed)
    if len(indices) < LEAST_IMAGES:
        fix = "train with more, for instance --data.val-fraction 0.2"
        raise DataError(f"at least {LEAST_IMAGES} validation images to make sets from", str(len(indices)), fix)
    return source.fetch(indices), source.fetch_targets(indices)


def read_source_indicators(reader: Reader, source: AbstractSource) -> Indicators:
    """Return what a network says of every image of a source; its targets, if it has any, are not read.

    Raises:
        DataError: it has no image, or a damaged one.
        NonFiniteError: the network's logits are not finite.
    """
    if len(source) == 0:
        raise DataError(f"images in {source.name}", "none", "name another set")
    chunks = torch.arange(len(source)).split(reader.batch_size)
    return read_chunks(reader, ((source.fetch(chunk), None) for chunk in chunks), name=source.name)
