"""Clusters of an encoder's maps: the backbone as the stage begins, another run's, or one with published weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.errors import OptionError
from auxo.interfaces import AbstractBackbone
from auxo.layers.convolutions import enlarge_maps
from auxo.layers.modes import evaluation_mode
from auxo.options import Range
from auxo.pretexts.labellers._directions import (
    Directions,
    choose_nearest,
    enlarge_similarities,
    learn_directions,
    split_batch,
)
from auxo.pretexts.labellers._interface import (
    AbstractPixelLabeller,
    LabellerConfig,
    LabelSource,
    LabelTools,
    count_clusters,
)
from auxo.types import Batch, Images

SOURCE = (
    "Ours, after Zhang, Torr, Ranftl, Richter, Looking Beyond Single Images for Contrastive Semantic Segmentation "
    "Learning, NeurIPS 2021, of which only the abstract could be read: extractors there range from classification "
    "networks trained by unsupervised contrast to segmentation networks trained on few labels. Layer, clusters, "
    "components and interpolation are ours."
)

_COARSEST = 8  # a map has at least one place for so many pixels of a side


class Encoder(AbstractPixelLabeller):
    """Labels every pixel by the nearest cluster of an encoder's map.

    Maps are taken to length 1 at every place, projected to principal components, taken to length 1 again, and clustered
    by cosine over places of all images. The cosines to the centroids are enlarged to the image before the nearest is
    chosen.

    Args:
        network: in evaluation mode whenever it is asked.
        layer: name of the map.
        scale: by which images are enlarged before.
        directions: clusters.
        margin: see :func:`choose_nearest`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(LabellerConfig):
        """Options of clusters of an encoder's maps."""

        source: str = ""
        """Directory of a finished run whose backbone is meant, file of weights of the method's backbone, or backbone
        with published weights, such as efficientnet_lite0, timm:resnet18 or hf:OWNER/NAME; empty means the method's own
        backbone as the stage begins."""
        layer: str = ""
        """Name of the map; empty means the coarsest with at least one place for 8 pixels of a side."""
        scale: Annotated[float, Range(above=0, high=16)] = 1.0
        """Images are enlarged by so much before, which gives finer maps."""
        components: Annotated[int, Range(low=0)] = 128
        """Principal components that are kept of a map with more channels; 0 keeps all."""
        clusters: Annotated[int, Range(low=0)] = 0
        """Labels; 0 means two for every class of the task."""
        restarts: Annotated[int, Range(low=1)] = 4
        """Runs of k-means from different first centroids, of which the best is kept."""
        margin: Annotated[float, Range(low=0, below=2)] = 0.0
        """Pixels whose cosines to the nearest two centroids differ by less have no label; 0 labels all."""

        def __post_init__(self) -> None:
            super().__post_init__()
            path = Path(self.source).expanduser()
            if self.source and path.exists():  # the same from every folder
                object.__setattr__(self, "source", str(path.absolute()))

        def num_labels(self, num_classes: int) -> int:
            """Return the number of clusters."""
            return count_clusters(self.clusters, num_classes)

        def choose_network(self, tools: LabelTools) -> AbstractBackbone:
            """Return the encoder."""
            return tools.load(self.source) if self.source else tools.encoder

        def learn(self, source: LabelSource) -> "Encoder":
            """Return the labeller with clusters of all images' maps."""
            network = source.network
            assert isinstance(network, AbstractBackbone)
            channels = source.images.pixels(torch.tensor([0])).shape[1]
            blank = torch.zeros(1, channels, *source.size, device=source.start.device)
            layer = _choose_layer(network, _enlarge_images(blank, self.scale), source.size, self.layer)
            directions = learn_directions(
                source,
                lambda batch: _read_map(network, _enlarge_images(batch.images, self.scale), layer),
                dim=network.map_channels[layer],
                enlarged=self.scale,
                num_clusters=self.num_labels(source.num_classes),
                restarts=self.restarts,
                components=self.components,
                generator=source.start.generator(f"{self.name} clusters"),
            )
            return Encoder(network, layer, self.scale, directions, margin=self.margin)

    def __init__(
        self, network: AbstractBackbone, layer: str, scale: float, directions: Directions, *, margin: float
    ) -> None:
        self._network, self._layer, self._scale = network, layer, scale
        self._directions, self._margin = directions, margin

    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the nearest cluster of every pixel."""
        return torch.cat([self._label_part(part) for part in split_batch(batch, enlarged=self._scale)])

    def _label_part(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the labels of a few images."""
        height, width = batch.images.shape[2:]
        images = _enlarge_images(batch.images, self._scale)
        rows, columns = images.shape[2:]
        covered = self._network.map_size(self._layer, height=rows, width=columns)
        pixels = (max(1, round(height * covered[0] / rows)), max(1, round(width * covered[1] / columns)))
        similarities = self._directions.compare(_read_map(self._network, images, self._layer))
        return choose_nearest(enlarge_similarities(similarities, (height, width), covered=pixels), margin=self._margin)


def _enlarge_images(images: Images, scale: float) -> Float[Tensor, "batch channels _ _"]:
    """Return images of another size."""
    height, width = (max(1, round(side * scale)) for side in images.shape[2:])
    return images if (height, width) == images.shape[2:] else enlarge_maps(images, (height, width))


def _read_map(network: AbstractBackbone, images: Images, layer: str) -> Float[Tensor, "n dim rows columns"]:
    """Return a map of a few images, float32."""
    found: Tensor = network(images).maps[layer]
    return found.float()


def _choose_layer(network: AbstractBackbone, blank: Images, size: tuple[int, ...], layer: str) -> str:
    """Return the map that is named, or the coarsest one that is fine enough; where none is, the finest."""
    names = list(network.map_channels)
    if not names or (layer and layer not in names):
        got = repr(layer) if names else "a network without maps"
        fix = "name one of them" if names else "choose another encoder"
        raise OptionError("layer", f"of a map of the encoder, {', '.join(names) or 'which needs some'}", got, fix)
    if layer:
        return layer
    with evaluation_mode(network), torch.no_grad():
        maps = network(blank).maps
    fine = [
        name
        for name in names
        if all(found * _COARSEST >= side for found, side in zip(maps[name].shape[2:], size, strict=True))
    ]
    return fine[-1] if fine else max(names, key=lambda name: maps[name][0, 0].numel())
