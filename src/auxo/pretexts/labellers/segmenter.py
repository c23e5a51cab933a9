"""A segmentation network that learns the few masks there are, and what it says of all images."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.nn import functional

from auxo.errors import DataError
from auxo.interfaces import AbstractImageReader, StageStart
from auxo.layers.convolutions import enlarge_maps
from auxo.layers.decoders import PixelNetwork
from auxo.losses import IGNORE
from auxo.options import Range
from auxo.pretexts.labellers._directions import (
    Directions,
    choose_nearest,
    enlarge_similarities,
    learn_directions,
    split_batch,
)
from auxo.pretexts.labellers._interface import (
    IGNORED,
    AbstractPixelLabeller,
    LabellerConfig,
    LabelSource,
    LabelTools,
)
from auxo.types import MASK, Batch, Normalisation

SOURCE = (
    "Ours, after Zhang, Torr, Ranftl, Richter, Looking Beyond Single Images for Contrastive Semantic Segmentation "
    "Learning, NeurIPS 2021, of which only the abstract could be read: among its extractors are segmentation networks "
    "trained on a small labelled set. Confidence, clusters and the training are ours."
)


class Segmenter(AbstractPixelLabeller):
    """Labels every pixel by the class that a network trained on the labelled images gives it.

    Only the masks of the training images are read; never those of validation or test images.

    Args:
        network: trained; in evaluation mode.
        directions: clusters of its features, which then are the labels; ``None`` for the classes.
        min_confidence: pixels whose most probable class is less probable have no label.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(LabellerConfig):
        """Options of a network that learns from few masks."""

        learns_masks = True

        steps: Annotated[int, Range(low=1)] = 300
        """Steps of its training."""
        lr: Annotated[float, Range(above=0)] = 3e-3
        """Learning rate of AdamW, which falls to 0 as a cosine."""
        batch_size: Annotated[int, Range(low=1)] = 8
        """Images of a step; all of them where there are fewer."""
        mirror: bool = False
        """Mirror half of the images; not where a mirrored class is another one."""
        min_confidence: Annotated[float, Range(low=0, high=1)] = 0.7
        """Pixels whose most probable class is less probable have no label; 0 labels all."""
        clusters: Annotated[int, Range(low=0)] = 0
        """Labels are so many clusters of what the classifier reads, in all images; 0 means the classes."""
        restarts: Annotated[int, Range(low=1)] = 4
        """With clusters: runs of k-means from different first centroids, of which the best is kept."""

        def num_labels(self, num_classes: int) -> int:
            """Return the number of clusters, or of classes."""
            return self.clusters or num_classes

        def choose_network(self, tools: LabelTools) -> PixelNetwork:
            """Return a network of its own."""
            return tools.new_segmenter()

        def describe_masks(self, start: StageStart) -> str:
            """Return a digest of the labelled images and their masks."""
            train = start.images["train"]
            digest = hashlib.sha256(_find_masks(train).numpy().tobytes())
            for positions in torch.arange(len(train)).split(256):
                digest.update(train.pixels(positions).contiguous().numpy().tobytes())
            return digest.hexdigest()

        def learn(self, source: LabelSource) -> "Segmenter":
            """Return the labeller with its network trained."""
            network = source.network
            assert isinstance(network, PixelNetwork)
            _train_network(network, source.start, self)
            labeller = Segmenter(network, None, min_confidence=self.min_confidence)
            if not self.clusters:
                return labeller
            directions = learn_directions(
                source,
                lambda batch: network(batch.images).features.float(),
                dim=network.decoder.num_features,
                num_clusters=self.clusters,
                restarts=self.restarts,
                components=0,
                generator=source.start.generator(f"{self.name} clusters"),
            )
            return Segmenter(network, directions, min_confidence=self.min_confidence)

    def __init__(self, network: PixelNetwork, directions: Directions | None, *, min_confidence: float) -> None:
        self._network, self._directions, self._min_confidence = network, directions, min_confidence

    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the class, or the cluster, of every pixel."""
        return torch.cat([self._label_part(part) for part in split_batch(batch)])

    def _label_part(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the labels of a few images."""
        size = (batch.images.shape[2], batch.images.shape[3])
        outputs = self._network(batch.images)
        confidences, classes = enlarge_maps(outputs.logits.float(), size).softmax(1).max(1)
        labels = classes.int()
        if self._directions is not None:
            similarities = self._directions.compare(outputs.features.float())
            labels = choose_nearest(enlarge_similarities(similarities, size, covered=size), margin=0.0)
        return labels.masked_fill(confidences < self._min_confidence, IGNORED)


def _find_masks(train: AbstractImageReader) -> Shaped[Tensor, "n height width"]:
    """Return the masks of the training images, or refuse images that have none."""
    masks = train.targets.get(MASK)
    if masks is None or not (masks != IGNORE).any():
        fix = "give training images masks, or choose a labeller that needs none, such as patch_energy"
        raise DataError(f"masks in {train.split} for the labeller segmenter", "none that is known", fix)
    return masks


def _find_normalisation(train: AbstractImageReader) -> Normalisation:
    """Return what the run makes of pixels."""
    found: list[Normalisation] = []

    def note_normalisation(batch: Batch) -> Tensor:
        assert batch.normalisation is not None  # the reader has normalised them
        found.append(batch.normalisation)
        return batch.indices.to(batch.images.device)

    train.read(note_normalisation)
    return Normalisation(*(part.clone() for part in found[0]))


def _train_network(network: PixelNetwork, start: StageStart, config: Segmenter.Config) -> None:
    """Train the network on the images that have masks; every process does all of it.

    What differs between processes by rounding does no harm: each image is labelled by one of them.
    """
    train, device, generator = start.images["train"], start.device, start.generator("segmenter images")
    masks, normalisation = _find_masks(train), _find_normalisation(train)
    known = (masks != IGNORE).flatten(1).any(1).nonzero().flatten()
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    network.train()
    for _ in range(config.steps):
        chosen = known[torch.randperm(len(known), generator=generator)[: config.batch_size]]
        is_flipped = (torch.rand(len(chosen), generator=generator) < 0.5 * config.mirror).view(-1, 1, 1)
        targets = masks[chosen].long()
        targets = torch.where(is_flipped, targets.flip(2), targets).to(device)
        images = train.pixels(chosen)
        images = torch.where(is_flipped[:, None], images.flip(3), images).to(device)
        outputs = network(normalisation.to_inputs(images.float() / 255))
        logits = enlarge_maps(outputs.logits.float(), (images.shape[2], images.shape[3]))
        loss = functional.cross_entropy(logits, targets, ignore_index=IGNORE)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
