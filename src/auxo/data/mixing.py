"""MixUp and CutMix: images in pairs, mixed pixel by pixel or a rectangle of one in the other, and their labels."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy.special import betaincinv
from torch import Tensor

from auxo.random import Draws
from auxo.types import MIXED_LABEL, MIXED_PART, Batch

SOURCE = (
    "mixup: Beyond Empirical Risk Minimization (Zhang et al., ICLR 2018, arXiv 1710.09412); CutMix: Regularization "
    "Strategy to Train Strong Classifiers with Localizable Features (Yun et al., ICCV 2019, arXiv 1905.04899). Ours: "
    "pairs are neighbours in the batch, whose order is random, and each pair has a part of its own, where the papers "
    "draw one for a batch; with both, each pair is mixed by one of them, drawn evenly."
)


class Mixing(NamedTuple):
    """How images are mixed.

    Args:
        mixup: parameter a of the distribution Beta(a, a) of the part of the first image; 0 leaves MixUp out.
        cutmix: the same of CutMix, of the part of the area.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        """Return the batch with its images mixed in pairs, and the further targets ``mixed_label`` and ``mixed_part``.

        Image ``i`` keeps a part ``mixed_part[i]`` in [0, 1] of itself, its label too; the rest is its partner's, whose
        label is ``mixed_label[i]``. The last of an odd number stays as it is.

        Args:
            batch: all of a joined batch, with normalised images.
            draws: of the batch.
        """
        count = len(batch)
        order = torch.arange(count) ^ 1
        order = torch.where(order < count, order, torch.arange(count))
        is_first = torch.arange(count) & ~1
        is_cut = draws.uniform(count)[is_first] < (0.5 if self.mixup and self.cutmix else float(self.mixup == 0))
        drawn = draws.uniform(count)[is_first]
        parts = torch.where(is_cut, _draw_beta(drawn, self.cutmix), _draw_beta(drawn, self.mixup))
        height, width = batch.images.shape[2:]
        is_pasted = _draw_boxes(parts, draws.uniform(count, (2,))[is_first], height, width) & is_cut.view(-1, 1, 1, 1)
        kept = torch.where(is_cut, 1 - is_pasted.double().mean((1, 2, 3)), parts)  # boxes are cut off at the border
        kept = torch.where(order == torch.arange(count), 1.0, kept)
        device, images = batch.images.device, batch.images
        order = order.to(device)
        others = images[order]
        weights = torch.where(is_cut, 1.0, kept).to(images).view(-1, 1, 1, 1)
        mixed = torch.where(is_pasted.to(device), others, torch.lerp(others, images, weights))
        mixed = mixed.contiguous(memory_format=torch.channels_last) if _is_channels_last(images) else mixed
        further = {MIXED_LABEL: batch.labels[order], MIXED_PART: kept.to(device, torch.float32)}
        return replace(batch, images=mixed, targets={**batch.targets, **further})


def _draw_beta(uniform: Float[Tensor, " n"], parameter: float) -> Float[Tensor, " n"]:
    """Return numbers of Beta(a, a) by its inverse distribution function; ones for a parameter of 0."""
    if parameter == 0:
        return torch.ones_like(uniform)
    return torch.from_numpy(betaincinv(parameter, parameter, uniform.numpy()))


def _draw_boxes(
    parts: Float[Tensor, " n"], centres: Float[Tensor, "n 2"], height: int, width: int
) -> Bool[Tensor, "n 1 height width"]:
    """Return which pixels are in a box of the image's shape and ``1 - parts`` of its area, about a centre in it."""

    def is_near(axis: int, size: int) -> Tensor:
        middle = (centres[:, axis] * size).floor().unsqueeze(1)
        half = ((1 - parts).clamp(min=0).sqrt() * size / 2).round().unsqueeze(1)
        places = torch.arange(size, dtype=parts.dtype)
        return (places >= middle - half) & (places < middle + half)

    rows, columns = is_near(0, height), is_near(1, width)
    return rows.view(-1, 1, height, 1) & columns.view(-1, 1, 1, width)


def _is_channels_last(images: Tensor) -> bool:
    """Whether images lie in memory channel by channel of each pixel."""
    return images.is_contiguous(memory_format=torch.channels_last)
