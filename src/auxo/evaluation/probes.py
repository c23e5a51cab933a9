"""What features are worth by themselves: a vote of nearest neighbours, and a linear classifier on top of them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auxo.data import EvaluationSplit, Splits, TrainSplit, ValSplit
from auxo.errors import ConfigError, DataError
from auxo.evaluation.reader import Reader, TargetedFeatures
from auxo.runs.results import EvaluationRow
from auxo.tasks import Scores, score_answers, sum_answers
from auxo.types import require_choice

ProbeName: TypeAlias = Literal["knn", "linear"]

PROBES: tuple[ProbeName, ...] = get_args(ProbeName)
"""Names of the probes, in the order in which they are judged."""

_NEIGHBOURS = 20
_TEMPERATURE = 0.07
_STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
_MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class FittedProbe:
    """A classifier of features.

    Args:
        head: what rows call it: ``"knn"`` or ``"linear_probe"``.
        num_outputs: of the task.
        logits: maps features of shape ``(n, dim)`` to finite scores before the softmax, shape ``(n, num_outputs)``.
        settings: what it was fitted with, for records: ``bank``, the number of training images, ``num_features``, and
            ``neighbours`` and ``temperature``, or ``c``, the inverse strength of the penalty that was chosen.
    """

    head: str
    num_outputs: int
    logits: Callable[[Float[np.ndarray, "n dim"]], Float[np.ndarray, "n classes"]]
    settings: Mapping[str, int | float]

    def outputs(self, of: TargetedFeatures) -> Tensor:
        """Return the scores before the softmax of the features of a split."""
        return torch.from_numpy(self.logits(of.features))

    def scores(self, of: TargetedFeatures) -> Scores:
        """Return what is kept of every image of a split."""
        answers = torch.from_numpy(of.answers)
        return score_answers(self.outputs(of), answers, num_outputs=self.num_outputs)


def evaluate_by_probes(
    reader: Reader, splits: Splits, *, probes: Sequence[str] = PROBES, neighbours: int | None = None
) -> list[EvaluationRow]:
    """Fit probes to the features of a run's training images and judge them on val, test and every set from elsewhere.

    Nothing but the training images is fitted to, and nothing but the validation images chooses.

    Args:
        reader: of the method, with a head that predicts or without; its features are those that it predicts from, else
            its backbone's. All processes fit the same probes and return the same rows.
        splits: of the run.
        probes: of :data:`PROBES`.
        neighbours: of the probe ``knn``, see :func:`fit_knn`.

    Returns:
        For every split a row of the kind ``task`` per probe; their heads are ``knn`` and ``linear_probe``.

    Raises:
        ConfigError: there is no such probe, or there are fewer training images than neighbours.
        DataError: a split has no image, or a class no training image.
        NonFiniteError: a feature is not a finite number.

    Cost: one forward pass over train and every split, two over val if ``linear`` is among the probes; the fits.
    """
    fitted = fit_probes(reader, splits.train, splits.val, probes=probes, neighbours=neighbours)
    return [row for split in splits.evaluation() for row in evaluate_probes(fitted, reader, split)]


def fit_probes(
    reader: Reader,
    train: TrainSplit,
    val: ValSplit,
    *,
    probes: Sequence[str] = PROBES,
    neighbours: int | None = None,
) -> list[FittedProbe]:
    """Return probes of a method's features, in the order of :data:`PROBES`.

    Args:
        reader: of the features.
        train: labelled images to fit to.
        val: chooses the penalty of the linear probe.
        probes: of :data:`PROBES`.
        neighbours: of the probe ``knn``, see :func:`fit_knn`.

    Raises:
        ConfigError: there is no such probe, or there are fewer training images than neighbours.
        DataError: a split has no image, or a class no training image.
        NonFiniteError: a feature is not a finite number.
    """
    if not probes:
        raise ConfigError(f"probes of {', '.join(PROBES)}", "none", "name one")
    for name in probes:
        require_choice("probes", name, ProbeName)
    target = reader.require_answers("probes")
    names = target.names
    counts = train.source.columns[target.name].values.bincount(minlength=len(names)).tolist()
    absent = [name for name, count in zip(names, counts, strict=True) if not count]
    if absent:
        raise DataError("training images of every class for probes", f"none of '{absent[0]}'", "add some")
    _check_neighbours(neighbours, len(train.source))
    bank = reader.features(train)
    fitted = []
    if "knn" in probes:
        fitted.append(fit_knn(bank, len(names), neighbours=neighbours))
    if "linear" in probes:
        fitted.append(fit_linear(bank, reader.features(val), len(names)))
    return fitted


def evaluate_probes(fitted: Sequence[FittedProbe], reader: Reader, split: EvaluationSplit) -> list[EvaluationRow]:
    """Return what probes achieve on a split, a row each.

    Args:
        fitted: from :func:`fit_probes` with the same reader.
        reader: of the features.
        split: images with their answers.

    Raises:
        DataError: the split has no image.
        NonFiniteError: a feature is not a finite number.
    """
    found, name = reader.features(split), reader.require_answers("probes").name
    answers, columns = {name: torch.from_numpy(found.answers)}, split.source.columns
    rows = []
    for probe in fitted:
        scores = {key: values.double() for key, values in reader.task.score(probe.outputs(found), answers).items()}
        rows.append(reader.row(split.name, probe.head, scores, columns))
    return rows


def fit_knn(bank: TargetedFeatures, num_outputs: int, *, neighbours: int | None = None) -> FittedProbe:
    """Return the vote of the training images whose features point the most alike.

    Of the ``k`` training images with the largest cosine ``s_i`` each votes for its class with the weight
    ``exp(s_i / 0.07)``. Probabilities are the shares of the votes, with one more neighbour of mean weight whose vote
    goes to all classes alike: it changes no answer and keeps every likelihood above zero.

    Source: Wu, Xiong, Yu, Lin, Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
        Section 3.4 (https://arxiv.org/abs/1805.01978), with their temperature; they take 200 neighbours. The 20 are
        those of Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021
        (https://arxiv.org/abs/2104.14294), and suit sets with few images of a class better. The even vote is ours.

    Args:
        bank: features and answers of the training images, of which every class has one.
        num_outputs: of the task.
        neighbours: ``k``, from 1 to the number of training images; ``None`` takes 20, or all where there are fewer.

    Raises:
        ConfigError: another number of neighbours.

    Cost: the cosine of every image with every training image.
    """
    from sklearn.neighbors import KNeighborsClassifier

    count = len(bank.answers)
    _check_neighbours(neighbours, count)
    k = min(_NEIGHBOURS, count) if neighbours is None else neighbours
    model = KNeighborsClassifier(k, weights=_vote_weights, algorithm="brute", metric="cosine")
    model.fit(bank.features, bank.answers)

    def logits(features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n classes"]:
        shares = np.asarray(model.predict_proba(features))
        return np.asarray(np.log((k * shares + 1 / num_outputs) / (k + 1)))

    settings = {"bank": count, "num_features": bank.features.shape[1], "neighbours": k, "temperature": _TEMPERATURE}
    return FittedProbe("knn", num_outputs, logits, settings)


def fit_linear(bank: TargetedFeatures, val: TargetedFeatures, num_outputs: int) -> FittedProbe:
    """Return a multinomial logistic regression on features of mean 0 and standard deviation 1.

    scikit-learn's, with a squared penalty on the weights of inverse strength ``C`` in 0.001, 0.01, 0.1, 1 and 10, each
    started from the one before. The one with the most right answers on the validation images is kept, among equals
    that with the lower negative log-likelihood there, then the stronger penalty. It stays fitted to the training images
    alone. A fit ends after 1,000 iterations at the latest and counts as it then is.

    Source: Alain, Bengio, Understanding intermediate layers using linear classifier probes, ICLR 2017 workshop
        (https://arxiv.org/abs/1610.01644); a penalty chosen on validation images as by Kornblith, Shlens, Le, Do Better
        ImageNet Models Transfer Better?, CVPR 2019 (https://arxiv.org/abs/1805.08974). The grid and the scaling of the
        features are ours.

    Args:
        bank: features and answers of the training images, of which every class has one.
        val: of the validation images.
        num_outputs: of the task.

    Cost: five fits.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaling = StandardScaler().fit(bank.features)
    inputs = scaling.transform(bank.features)
    model = LogisticRegression(max_iter=_MAX_ITERATIONS, warm_start=True)
    size = {"bank": len(bank.answers), "num_features": bank.features.shape[1]}
    candidates = []
    for c in _STRENGTHS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.set_params(C=c).fit(inputs, bank.answers)
        layer = _Layer(scaling.transform, model.coef_.copy(), model.intercept_.copy())
        candidates.append(FittedProbe("linear_probe", num_outputs, layer.scores, {**size, "c": c}))
    of_val = [sum_answers(probe.scores(val)) for probe in candidates]
    best = min(range(len(candidates)), key=lambda place: (-of_val[place].correct, of_val[place].nll))
    return candidates[best]


@dataclass(frozen=True)
class _Layer:
    """A logistic regression; that of two classes has one row of weights, for the second."""

    scale: Callable[[Float[np.ndarray, "n dim"]], Float[np.ndarray, "n dim"]]
    weights: Float[np.ndarray, "rows dim"]
    bias: Float[np.ndarray, " rows"]

    def scores(self, features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n classes"]:
        """Return the scores before the softmax."""
        scores = self.scale(features) @ self.weights.T + self.bias
        return np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else np.asarray(scores)


def _check_neighbours(neighbours: int | None, bank: int) -> None:
    """Refuse a number of neighbours that there are not."""
    if neighbours is not None and not 1 <= neighbours <= bank:
        raise ConfigError(f"neighbours in 1..{bank}, the training images", str(neighbours), "ask for fewer")


def _vote_weights(distances: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Return the weights of neighbours at cosine distances, up to a factor that all of one image share."""
    return np.asarray(np.exp((distances.min(axis=1, keepdims=True) - distances) / _TEMPERATURE))
