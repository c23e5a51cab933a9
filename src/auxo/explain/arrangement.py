"""The t-SNE map of a model's pooled features, and rows of numbers that it can be drawn from again."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.explain.config import ExplainConfig
from auxo.explain.drawing import Drawing
from auxo.explain.embedding import Embedding, embed
from auxo.explain.figures import draw_points
from auxo.explain.subject import Subject


class PointMap(NamedTuple):
    """Images laid out in the plane by their features.

    Args:
        indices: shape ``(n,)``; int64 positions of the images in the set.
        predicted: shape ``(n,)``; int64; ``None`` where the model has no class head.
        embedding: where they lie.
        num_features: of each image.
    """

    indices: Int[Tensor, " n"]
    predicted: Int[Tensor, " n"] | None
    embedding: Embedding
    num_features: int


def arrange(subject: Subject, classes: list[int], config: ExplainConfig) -> PointMap:
    """Return where t-SNE puts the pooled features of the images of some classes.

    Args:
        subject: the model, with a class head or without, and the images.
        classes: numbers of the classes.
        config: what to show.

    Raises:
        ConfigError: a perplexity that is too large, or fewer points than classes.
        DataError: fewer than two images, or features that do not differ.
    """
    indices = config.spread(subject.right, classes)
    pooled, predicted = _read_features(subject, indices)
    embedding = embed(pooled, perplexity=config.perplexity, seed=config.seed)
    return PointMap(indices, predicted, embedding, int(pooled.shape[1]))


def arrangement(subject: Subject, classes: list[int], config: ExplainConfig) -> Drawing:
    """Return the t-SNE map of the pooled features of the images of some classes.

    Args:
        subject: the model, with a class head or without, and the images.
        classes: numbers of the classes, in the order of the legend.
        config: what to show.

    Raises:
        ConfigError: a perplexity that is too large, or fewer points than classes.
        DataError: fewer than two images, or features that do not differ.
    """
    indices, predicted, (points, divergence, perplexity), num_features = arrange(subject, classes, config)
    settings = {
        "kind": "settings",
        "run": subject.run,
        "split": subject.split,
        "num_images": len(indices),
        "num_features": num_features,
        "perplexity": perplexity,
        "divergence": divergence,
        "seed": config.seed,
    }
    answers = [None] * len(indices) if predicted is None else predicted.tolist()
    places = zip(indices.tolist(), answers, points.tolist(), strict=True)
    rows = [{"kind": "point", **subject.row(index, answer), "x": x, "y": y} for index, answer, (x, y) in places]
    right = subject.right
    of_points = right.values[indices]
    text = f"{len(indices)} images, perplexity {perplexity:g}"
    figure = draw_points(
        points,
        np.array([classes.index(number) for number in of_points.tolist()]),
        None if predicted is None else (of_points == predicted).numpy(),
        [right.names[number] for number in classes],
        title=f"t-SNE of {num_features} features: {subject.run}, split {subject.split}",
        caption=f"{text}, divergence {divergence:.2f} nats, seed {config.seed}\n"
        "neighbours mean something; distances between groups and their sizes do not",
    )
    return Drawing([settings, *rows], figure, f"t-SNE: {text}")


def _read_features(
    subject: Subject, indices: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n dim"], Int[Tensor, " n"] | None]:
    """Return pooled features and, where there is a class head, predicted classes of the images at some positions."""
    if not subject.predicts:
        pooled = [subject.features(inputs.images).pooled for inputs in subject.inputs(indices)]
        return torch.cat(pooled).float().cpu(), None
    answers = [subject.answers(inputs.images) for inputs in subject.inputs(indices)]
    return torch.cat([one.pooled for one in answers]), torch.cat([one.predicted for one in answers])
