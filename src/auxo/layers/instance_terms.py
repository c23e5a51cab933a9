"""Terms that tie generated items to single real ones, and keep their labels apart and sure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from auxo.layers.joint_generator import Generated, TargetBlock
from auxo.layers.sub_classes import negative_entropy

Features = Float[Tensor, "n *cells dim"]


class LabelInformation(NamedTuple):
    """What generated labels say, in nats, summed over the targets that are classes; attached, 0 where there are none.

    Args:
        entropy: mean entropy of the labels.
        spread: entropy of the mean label.
    """

    entropy: Float[Tensor, ""]
    spread: Float[Tensor, ""]

    @property
    def information(self) -> Float[Tensor, ""]:
        """Mutual information of item and label: 0 where all items have the same label."""
        return self.spread - self.entropy


def measure_distances(made: Features, own: Features) -> Float[Tensor, " n"]:
    """Return how far each image's generated features lie from its own, relative to their length over all its cells.

    0 where an image has no feature above zero: nothing is relative to it.
    """
    distances: Tensor = torch.linalg.vector_norm((made - own).flatten(1), dim=1)
    lengths: Tensor = torch.linalg.vector_norm(own.flatten(1), dim=1)
    return torch.where(lengths > 0, distances / torch.where(lengths > 0, lengths, 1.0), 0.0)


def anchor_losses(made: Features, own: Features, *, low: float, high: float) -> Float[Tensor, " n"]:
    """Return for each image by how much its generated features are nearer to its own than ``low``, or beyond ``high``.

    Args:
        made: generated.
        own: of the images that they belong to.
        low: relative distance from which they are different enough; see :func:`measure_distances`.
        high: relative distance up to which they are near enough.
    """
    distances = measure_distances(made, own)
    return functional.relu(distances - high) + functional.relu(low - distances)


def discriminate_losses(
    made: Features,
    own: Features,
    *,
    gather: Callable[[Tensor], Tensor],
    first: int = 0,
    temperature: float = 0.1,
) -> Float[Tensor, " n"]:
    """Return for each image the cross-entropy of telling it from its generated features, among the joined batch.

    What is compared are cosines over the temperature, of means over an image's cells (InfoNCE).

    Args:
        made: generated.
        own: of this process's images.
        gather: maps rows of this process to those of the joined batch.
        first: position of this process's first image there.
        temperature: above 0.
    """
    queries, keys = (functional.normalize(summarise_cells(each), dim=1) for each in (made, own))
    logits = queries @ gather(keys).T / temperature
    return functional.cross_entropy(
        logits, torch.arange(first, first + len(logits), device=logits.device), reduction="none"
    )


def summarise_cells(features: Features) -> Float[Tensor, "n dim"]:
    """Return the mean feature over each image's cells; the features where an image is one item."""
    return features.flatten(1, -2).mean(1) if features.dim() > 2 else features


def measure_labels(
    made: Generated, blocks: Sequence[TargetBlock], *, join: Callable[[Tensor], Tensor]
) -> LabelInformation:
    """Return what the generated labels of the joined batch say.

    Args:
        made: of this process.
        blocks: of the generated targets.
        join: adds a tensor up over the processes.
    """
    entropy = spread = made.targets.new_zeros(())
    parts = made.targets.flatten(0, -2).split([block.width for block in blocks], -1)
    for target, known, block in zip(parts, made.known.flatten(0, -2).unbind(-1), blocks, strict=True):
        if block.is_class:
            count = join(known.sum()).clamp_min(1)
            entropy = entropy - join((known * negative_entropy(target)).sum()) / count
            spread = spread - negative_entropy(join(known @ target) / count)
    return LabelInformation(entropy, spread)
