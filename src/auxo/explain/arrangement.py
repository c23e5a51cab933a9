"""The t-SNE map of a model's pooled features, and rows of numbers that it can be drawn from again."""

import numpy as np
import torch

from auxo.explain.config import ExplainConfig
from auxo.explain.embedding import embed
from auxo.explain.figures import draw_points
from auxo.explain.part import Part
from auxo.explain.subject import Subject

__all__ = ["arrangement"]


def arrangement(subject: Subject, labels: list[int], config: ExplainConfig) -> Part:
    """Return the t-SNE map of the pooled features of the pictures of some classes.

    Args:
        subject: the model and the pictures.
        labels: numbers of the classes, in the order of the legend.
        config: what to show.

    Raises:
        ConfigError: a perplexity that is too large, or fewer points than classes.
        DataError: fewer than two pictures, or features that do not differ.
    """
    indices = config.spread(subject.source, labels)
    answers = [subject.answers(inputs.images) for inputs in subject.inputs(indices)]
    pooled, predicted = (torch.cat([getattr(one, name) for one in answers]) for name in ("pooled", "predicted"))
    points, divergence, perplexity = embed(pooled, perplexity=config.perplexity, seed=config.seed)
    settings = {
        "kind": "settings",
        "run": subject.run,
        "split": subject.split,
        "num_pictures": len(indices),
        "num_features": pooled.shape[1],
        "perplexity": perplexity,
        "divergence": divergence,
        "seed": config.seed,
    }
    places = zip(indices.tolist(), predicted.tolist(), points.tolist(), strict=True)
    rows = [{"kind": "point", **subject.row(index, answer), "x": x, "y": y} for index, answer, (x, y) in places]
    of_points = subject.source.labels[indices]
    text = f"{len(indices)} pictures, perplexity {perplexity:g}"
    picture = draw_points(
        points,
        np.array([labels.index(label) for label in of_points.tolist()]),
        (of_points == predicted).numpy(),
        [subject.source.class_names[label] for label in labels],
        title=f"t-SNE of {pooled.shape[1]} features: {subject.run}, split {subject.split}",
        caption=f"{text}, divergence {divergence:.2f} nats, seed {config.seed}\n"
        "neighbours mean something; distances between groups and their sizes do not",
    )
    return Part([settings, *rows], picture, f"t-SNE: {text}")
