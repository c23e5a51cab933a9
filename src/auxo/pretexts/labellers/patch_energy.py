"""Texture energy of grey patches, clustered over all images: no training, no mask."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from auxo.errors import DataError
from auxo.options import Range
from auxo.pretexts.labellers._directions import Directions, choose_nearest, learn_directions, split_batch
from auxo.pretexts.labellers._interface import AbstractPixelLabeller, LabellerConfig, LabelSource, count_clusters
from auxo.types import Batch

SOURCE = (
    "Ours, as the extractor of labels that needs no training, after Zhang, Torr, Ranftl, Richter, Looking Beyond "
    "Single Images for Contrastive Semantic Segmentation Learning, NeurIPS 2021, of which only the abstract could be "
    "read. Texture energy: Laws, Rapid Texture Identification, SPIE 238, 1980; filters that are the principal "
    "components of patches: Ade, Characterization of Textures by Eigenfilters, Signal Processing 5, 1983."
)

_PATCHES = 50_000


class PatchEnergy(AbstractPixelLabeller):
    """Labels every pixel by the energy of the texture around it.

    Grey patches lose their mean; their principal components are filters. The energy of a filter is the root of its
    squared response, averaged over a window. Only the direction of a pixel's energies counts, so neither brightness nor
    contrast nor colour of an image does.

    Args:
        filters: shape ``(k, 1, patch, patch)``.
        window: pixels of a side over which squares are averaged.
        directions: clusters of energies.
        margin: see :func:`choose_nearest`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(LabellerConfig):
        """Options of texture energy."""

        patch: Annotated[int, Range(low=3)] = 7
        """Pixels of a side of the patches."""
        filters: Annotated[int, Range(low=1)] = 12
        """Principal components of patches that are used as filters; at most patch * patch - 1, which are all."""
        window: Annotated[int, Range(low=1)] = 5
        """Pixels of a side of the window over which squared responses are averaged."""
        clusters: Annotated[int, Range(low=0)] = 0
        """Labels; 0 means two for every class of the task."""
        restarts: Annotated[int, Range(low=1)] = 4
        """Runs of k-means from different first centroids, of which the best is kept."""
        margin: Annotated[float, Range(low=0, below=2)] = 0.0
        """Pixels whose cosines to the nearest two centroids differ by less have no label; 0 labels all."""

        def num_labels(self, num_classes: int) -> int:
            """Return the number of clusters."""
            return count_clusters(self.clusters, num_classes)

        def learn(self, source: LabelSource) -> "PatchEnergy":
            """Return the labeller with filters and clusters of the images' patches."""
            generator = source.start.generator(f"{self.name} patches")
            height, width = source.size
            if min(height, width) <= max(self.patch, self.window) // 2:
                fix = "choose a smaller patch and window for the labeller"
                raise DataError("images of more pixels than half a patch or window", f"{width}x{height}", fix)
            count = min(self.filters, self.patch**2 - 1)
            filters = _find_filters(_draw_patches(source, self.patch, generator), count)
            directions = learn_directions(
                source,
                lambda batch: _measure_energies(batch, filters, self.window),
                dim=count,
                num_clusters=self.num_labels(source.num_classes),
                restarts=self.restarts,
                components=0,
                generator=source.start.generator(f"{self.name} clusters"),
            )
            return PatchEnergy(filters, self.window, directions, margin=self.margin)

    def __init__(
        self, filters: Float[Tensor, "k 1 patch patch"], window: int, directions: Directions, *, margin: float
    ) -> None:
        self._filters, self._window, self._directions, self._margin = filters, window, directions, margin

    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the nearest cluster of every pixel's energies."""
        return torch.cat([self._label_part(part) for part in split_batch(batch)])

    def _label_part(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the labels of a few images."""
        energies = _measure_energies(batch, self._filters, self._window)
        return choose_nearest(self._directions.compare(energies), margin=self._margin)


def _find_grey(batch: Batch) -> Float[Tensor, "n 1 height width"]:
    """Return the mean over the channels of pixels in [0, 1]."""
    assert batch.normalisation is not None  # the reader has normalised them
    return batch.normalisation.to_pixels(batch.images.float()).mean(1, keepdim=True)


def _pad_mirrored(images: Float[Tensor, "n k height width"], size: int) -> Float[Tensor, "n k rows columns"]:
    """Return images with a mirrored rim, so that a window of this size lies around every pixel."""
    before, after = (size - 1) // 2, size // 2
    return functional.pad(images, (before, after, before, after), mode="reflect")


def _draw_patches(source: LabelSource, patch: int, generator: torch.Generator) -> Float[Tensor, "n pixels"]:
    """Return patches around places drawn at random, as many from each image."""
    images = source.images
    height, width = source.size
    count = min(-(-_PATCHES // len(images)), height * width)
    tops = torch.randint(height, (len(images), count), generator=generator)
    lefts = torch.randint(width, (len(images), count), generator=generator)
    offsets = torch.arange(patch)

    def cut_patches(batch: Batch) -> Float[Tensor, "n places pixels"]:
        grey = _pad_mirrored(_find_grey(batch), patch)[:, 0]
        chosen = batch.indices.cpu()
        rows = (tops[chosen][:, :, None, None] + offsets[:, None]).to(grey.device)
        columns = (lefts[chosen][:, :, None, None] + offsets).to(grey.device)
        numbers = torch.arange(len(grey), device=grey.device)[:, None, None, None]
        return grey[numbers, rows, columns].flatten(2)

    return images.read(lambda batch: torch.cat([cut_patches(part) for part in split_batch(batch)])).flatten(0, 1)


def _find_filters(patches: Float[Tensor, "n pixels"], count: int) -> Float[Tensor, "count 1 side side"]:
    """Return the principal components of patches without their mean, those of largest variance first."""
    rows = patches.double()
    rows = rows - rows.mean(1, keepdim=True)
    vectors: Tensor = torch.linalg.eigh(torch.cov(rows.T)).eigenvectors
    side = round(patches.shape[1] ** 0.5)
    return vectors[:, -count:].T.flip(0).float().view(count, 1, side, side)


def _measure_energies(
    batch: Batch, filters: Float[Tensor, "k 1 side side"], window: int
) -> Float[Tensor, "n k height width"]:
    """Return the root of the mean squared response to each filter around every pixel."""
    grey = _find_grey(batch)
    with torch.autocast(grey.device.type, enabled=False):  # squares of small responses need float32
        responses = functional.conv2d(_pad_mirrored(grey, filters.shape[-1]), filters.to(grey.device))
        return functional.avg_pool2d(_pad_mirrored(responses.square(), window), window, stride=1).sqrt()
