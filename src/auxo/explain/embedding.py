"""t-SNE: points in the plane whose neighbourhoods are those of high-dimensional features."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from auxo.errors import ConfigError, DataError, NonFiniteError
from auxo.random import derive_seed

_PERPLEXITY = 30.0


class Embedding(NamedTuple):
    """Features laid out in the plane.

    Args:
        points: shape ``(n, 2)``; float64 without a unit.
        divergence: Kullback-Leibler divergence that is left, nats.
        perplexity: the one that was used.
    """

    points: Float[np.ndarray, "n 2"]
    divergence: float
    perplexity: float


def embed(features: Float[Tensor, "n dim"], *, perplexity: float | None = None, seed: int) -> Embedding:
    """Lay features out in the plane by t-SNE, as they are: neither scaled nor reduced beforehand.

    Source: van der Maaten, Hinton, Visualizing Data using t-SNE, JMLR 9, 2008
        (https://www.jmlr.org/papers/v9/vandermaaten08a.html), with the Barnes-Hut approximation and the start on the
        first two principal components that scikit-learn has.

    Args:
        features: shape ``(n, dim)``, ``n >= 2``.
        perplexity: effective number of neighbours, in ``[1, n)``; ``None`` takes 30, or ``(n - 1) / 3`` if that is
            less.
        seed: of the start; equal seeds give equal points on one machine.

    Raises:
        DataError: fewer than two features, or all of them equal.
        NonFiniteError: a feature is not a finite number.
        ConfigError: a perplexity that is not below the number of features.
    """
    from sklearn.manifold import TSNE

    values = features.detach().cpu().double().numpy()
    count, dimensions = values.shape
    if count < 2:
        raise DataError("at least 2 images for t-SNE", str(count), "show more images or classes")
    if not np.isfinite(values).all():
        raise NonFiniteError("finite features", "some that are not", "the weights have diverged; train again")
    if (values == values[0]).all():
        fix = "train it longer, or with a lower learning rate"
        raise DataError("features that differ", f"{count} equal ones: the network answers all alike", fix)
    if perplexity is None:
        perplexity = max(1.0, min(_PERPLEXITY, (count - 1) / 3))
    elif not 1 <= perplexity < count:
        fix = "lower --perplexity, or show more images"
        raise ConfigError(f"a perplexity in [1, {count}), for {count} images", f"{perplexity:g}", fix)
    tsne = TSNE(
        perplexity=perplexity,
        init="pca" if dimensions > 1 else "random",
        learning_rate="auto",
        random_state=derive_seed(seed, "explain", "tsne") % 2**32,
    )
    points = np.asarray(tsne.fit_transform(values), dtype=np.float64)
    return Embedding(points, float(tsne.kl_divergence_), float(perplexity))
