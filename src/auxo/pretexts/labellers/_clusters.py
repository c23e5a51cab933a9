"""Spherical mini-batch k-means: directions are grouped, lengths do not count.

Source: Dhillon, Modha, Concept Decompositions for Large Sparse Text Data Using Clustering, Machine Learning 42, 2001
(cosine similarity, centroids of length 1); Sculley, Web-Scale K-Means Clustering, WWW 2010 (mini-batches with a rate
for each centroid); Arthur, Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007. The passes over all
rows at the end are ours: they cost little where the rows are a sample.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from auxo.errors import DataError

_BATCH = 2_048
_STEPS = 60  # which see 50,000 rows, as many as labellers draw, two and a half times
_PASSES = 20


class Clusters(NamedTuple):
    """What k-means found.

    Args:
        centroids: of length 1.
        inertia: mean of one minus the cosine between a row and its centroid.
    """

    centroids: Float[Tensor, "clusters dim"]
    inertia: float


def cluster_directions(
    rows: Float[Tensor, "n dim"], num_clusters: int, *, restarts: int, generator: torch.Generator
) -> Clusters:
    """Return the best of several runs of spherical k-means: that of the lowest inertia.

    Args:
        rows: on the CPU; rows of zeros belong to no direction and are left out.
        num_clusters: at least 1.
        restarts: runs from different first centroids, at least 1.
        generator: of random numbers, on the CPU; it decides everything.

    Raises:
        DataError: there are fewer different directions than clusters.

    Cost: a pass is ``n * num_clusters * dim`` multiplications. Each restart has one for first centroids, one to be
    judged, and mini-batches of 120,000 rows together; the best has 21 more at most.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 3.0], [0.1, 1.0]])
        >>> found = cluster_directions(rows, 2, restarts=2, generator=torch.Generator().manual_seed(0))
        >>> nearest = (rows @ found.centroids.T).argmax(1)
        >>> bool(nearest[0] == nearest[1] != nearest[2] == nearest[3])
        True
    """
    lengths = rows.norm(dim=1)
    directions = rows[lengths > 0] / lengths[lengths > 0, None]
    runs = [_run_batches(directions, num_clusters, generator) for _ in range(restarts)]
    best = min(runs, key=lambda run: run.inertia)
    return _run_passes(directions, best)


def _run_batches(rows: Float[Tensor, "n dim"], num_clusters: int, generator: torch.Generator) -> Clusters:
    """Return what mini-batches find from one draw of first centroids."""
    centroids = _draw_centroids(rows, num_clusters, generator)
    counts = torch.ones(num_clusters)
    for _ in range(_STEPS):
        batch = rows[torch.randint(len(rows), (min(_BATCH, len(rows)),), generator=generator)]
        sums, sizes = _sum_members(batch, (batch @ centroids.T).argmax(1), num_clusters)
        counts += sizes
        centroids = functional.normalize(centroids + (sums - sizes[:, None] * centroids) / counts[:, None])
    return Clusters(centroids, _measure_inertia(rows, centroids))


def _run_passes(rows: Float[Tensor, "n dim"], start: Clusters) -> Clusters:
    """Return the clusters after passes over all rows, until no row moves."""
    centroids, nearest = start.centroids, None
    for _ in range(_PASSES):
        similarities, found = (rows @ centroids.T).max(1)
        if nearest is not None and torch.equal(found, nearest):
            break
        nearest = found
        sums, sizes = _sum_members(rows, nearest, len(centroids))
        empty = sizes == 0
        # An empty cluster begins anew at the rows that are farthest from their centroids.
        sums[empty] = rows[similarities.topk(int(empty.sum()), largest=False).indices]
        centroids = functional.normalize(sums)
    return Clusters(centroids, _measure_inertia(rows, centroids))


def _draw_centroids(
    rows: Float[Tensor, "n dim"], num_clusters: int, generator: torch.Generator
) -> Float[Tensor, "clusters dim"]:
    """Return rows that lie apart, drawn as k-means++ does."""
    first = int(torch.randint(max(len(rows), 1), (), generator=generator))
    distances, chosen = torch.full((len(rows),), torch.inf), [first] if len(rows) else []
    while chosen and len(chosen) < num_clusters:
        distances = torch.minimum(distances, (1 - rows @ rows[chosen[-1]]).clamp_min(0))
        distances[distances < 1e-6] = 0  # rounding is no distance
        total = distances.double().cumsum(0)
        if total[-1] == 0:
            break
        place = torch.rand((), generator=generator, dtype=torch.float64) * total[-1]
        chosen.append(int(torch.searchsorted(total, place, right=True).clamp(max=len(rows) - 1)))
    if len(chosen) < num_clusters:
        fix = "ask for fewer clusters, or give more images"
        raise DataError(f"pixels that differ for {num_clusters} clusters", f"{len(chosen)} different ones", fix)
    return rows[chosen]


def _sum_members(
    rows: Float[Tensor, "n dim"], nearest: Int[Tensor, " n"], num_clusters: int
) -> tuple[Float[Tensor, "clusters dim"], Float[Tensor, " clusters"]]:
    """Return the sum of the rows of each cluster, and how many they are."""
    sums = torch.zeros(num_clusters, rows.shape[1]).index_add_(0, nearest, rows)
    return sums, nearest.bincount(minlength=num_clusters).float()


def _measure_inertia(rows: Float[Tensor, "n dim"], centroids: Float[Tensor, "clusters dim"]) -> float:
    """Return the mean of one minus the cosine between a row and its centroid."""
    return float(1 - (rows @ centroids.T).amax(1).double().mean())
