"""Clusters of the directions of maps: learned from some places of all images, then every pixel has its nearest."""

from collections.abc import Callable, Iterator
from math import ceil
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from auxo.layers.convolutions import enlarge_maps
from auxo.pretexts.labellers._clusters import cluster_directions
from auxo.pretexts.labellers._interface import IGNORED, LabelSource
from auxo.types import Batch

_ROWS = 50_000  # places that clusters are learned from, about
_NUMBERS = 2**24  # of those places together: 64 MiB
_PIXELS = 2**18  # of images that are looked at together: 64 images of 64 x 64


class Directions(NamedTuple):
    """Clusters of directions.

    Args:
        centroids: of length 1, in the space that is projected to.
        projection: onto principal components; ``None`` where there is none.
    """

    centroids: Float[Tensor, "clusters space"]
    projection: Float[Tensor, "space dim"] | None = None

    def compare(self, maps: Float[Tensor, "n dim rows columns"]) -> Float[Tensor, "n clusters rows columns"]:
        """Return the cosine between every place of some maps and every centroid."""
        with torch.autocast(maps.device.type, enabled=False):  # half precision would make neighbours equal
            units = functional.normalize(maps.float())
            if self.projection is not None:
                units = functional.normalize(torch.einsum("nduv,sd->nsuv", units, self.projection.to(units)))
            return torch.einsum("nduv,kd->nkuv", units, self.centroids.to(units))


def learn_directions(
    source: LabelSource,
    find_maps: Callable[[Batch], Float[Tensor, "n dim rows columns"]],
    *,
    dim: int,
    num_clusters: int,
    restarts: int,
    components: int,
    generator: torch.Generator,
    enlarged: float = 1.0,
) -> Directions:
    """Return clusters of places drawn at random from the maps of all images.

    Args:
        source: has the images, of each of which as many places are drawn.
        find_maps: gives the maps of a few images, float32.
        dim: channels of the maps; with many of them fewer places are drawn, so that all fit in memory.
        num_clusters: at least 1.
        restarts: of k-means.
        components: principal ones that are kept, not scaled; 0, or as many as there are channels, keeps all.
        generator: decides everything.
        enlarged: see :func:`split_batch`.

    Raises:
        DataError: the places are too much alike for so many clusters.
    """
    images, (height, width) = source.images, source.size
    count = min(ceil(min(_ROWS, _NUMBERS / dim) / len(images)), height * width)
    draws = torch.rand(len(images), count, generator=generator)

    def draw_rows(batch: Batch) -> Float[Tensor, "n places dim"]:
        maps = functional.normalize(find_maps(batch)).flatten(2)
        places = (draws[batch.indices.cpu()] * maps.shape[2]).long().to(maps.device)
        return maps.transpose(1, 2).take_along_dim(places[:, :, None], 1)

    rows = images.read(
        lambda batch: torch.cat([draw_rows(part) for part in split_batch(batch, enlarged=enlarged)])
    ).flatten(0, 1)
    projection = _find_components(rows, components) if 0 < components < dim else None
    if projection is not None:
        rows = rows @ projection.T
    found = cluster_directions(rows, num_clusters, restarts=restarts, generator=generator)
    return Directions(found.centroids, projection)


def enlarge_similarities(
    similarities: Float[Tensor, "n clusters rows columns"], size: tuple[int, int], *, covered: tuple[int, int]
) -> Float[Tensor, "n clusters height width"]:
    """Return similarities at the size of images, interpolated bilinearly: labels themselves cannot be.

    Args:
        similarities: at the places of a map.
        size: height and width of images.
        covered: pixels that the map lies over, around the middle; beyond them it goes on as at its rim.
    """
    found: Tensor = enlarge_maps(similarities, covered)
    top, left = ((whole - part) // 2 for whole, part in zip(size, covered, strict=True))
    rim = (left, size[1] - covered[1] - left, top, size[0] - covered[0] - top)
    return functional.pad(found, rim, mode="replicate") if any(rim) else found


def choose_nearest(
    similarities: Float[Tensor, "n clusters height width"], *, margin: float
) -> Int[Tensor, "n height width"]:
    """Return the most similar cluster of every pixel, and -1 where the second is within a margin.

    Args:
        similarities: cosines.
        margin: of a cosine; at 0 every pixel has a label.
    """
    labels = similarities.argmax(1)
    if margin > 0 and similarities.shape[1] > 1:
        best = similarities.topk(2, dim=1).values
        labels = labels.masked_fill(best[:, 0] - best[:, 1] < margin, IGNORED)
    return labels.int()


def split_batch(batch: Batch, *, enlarged: float = 1.0) -> Iterator[Batch]:
    """Yield a few images of a batch at a time, so that large maps of all of them need no room.

    Args:
        batch: with indices; targets are left out.
        enlarged: by how much height and width of the images are before they are looked at; below 1 counts as 1.
    """
    count = max(1, int(_PIXELS / (batch.images[0, 0].numel() * max(enlarged, 1.0) ** 2)))
    for images, indices in zip(batch.images.split(count), batch.indices.split(count), strict=True):
        yield Batch(images, {}, indices, normalisation=batch.normalisation)


def _find_components(rows: Float[Tensor, "n dim"], count: int) -> Float[Tensor, "count dim"]:
    """Return the directions of largest variance, without a mean: cosines are measured from the origin."""
    squares = rows.double().T @ rows.double()
    vectors: Tensor = torch.linalg.eigh(squares).eigenvectors
    return vectors[:, -count:].T.flip(0).float()
