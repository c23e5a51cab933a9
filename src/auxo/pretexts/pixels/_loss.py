"""The contrastive loss over sampled pixels, in the forms of three papers.

``contrastive_seg``: Wang, Zhou, Yu, Dai, Konukoglu, Van Gool, Exploring Cross-Image Pixel Contrast for Semantic
Segmentation, ICCV 2021 (arXiv 2101.11939), as released. ``supcon``: Khosla et al., Supervised Contrastive Learning,
NeurIPS 2020 (arXiv 2004.11362), Eq. 2. ``zhao``: Zhao et al., Contrastive Learning for Label Efficient Semantic
Segmentation, ICCV 2021 (arXiv 2012.06985), as released; it averages over the pixels of an image, or of two, before it
averages over those, and here all pixels of a batch are in one mean.
"""

from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

Positives: TypeAlias = Literal["all", "cross_image", "same_image"]
Negatives: TypeAlias = Literal["all", "same_image"]
Form: TypeAlias = Literal["contrastive_seg", "supcon", "zhao"]

_EXACT = 40.0  # exp(-40) is below the rounding of 1 in float64


class Keys(NamedTuple):
    """What anchors are compared with beside each other.

    Args:
        rows: of length one, detached.
        labels: of each.
        images: the number of the image that each is from.
    """

    rows: Float[Tensor, "keys dim"]
    labels: Int[Tensor, " keys"]
    images: Int[Tensor, " keys"]


class PairMasks(NamedTuple):
    """Which keys are alike and which are different, for each anchor.

    Args:
        positives: never the anchor itself.
        negatives: never of its label.
    """

    positives: Bool[Tensor, "samples keys"]
    negatives: Bool[Tensor, "samples keys"]


def pair_masks(
    labels: Int[Tensor, " samples"],
    images: Int[Tensor, " samples"],
    *,
    positives: Positives = "all",
    negatives: Negatives = "all",
    keys: Keys | None = None,
) -> PairMasks:
    """Return which pairs of pixels are chosen as positives and as negatives.

    Args:
        labels: of the anchors.
        images: a number for each one's image.
        positives: of the same label: all, those of other images, or those of the anchor's own.
        negatives: of another label: all, or those of the anchor's own image.
        keys: further columns of the masks, behind the anchors.

    Example:
        >>> labels, images = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
        >>> pair_masks(labels, images, negatives="same_image").negatives.int().tolist()
        [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    """
    others = (labels, images) if keys is None else (torch.cat([labels, keys.labels]), torch.cat([images, keys.images]))
    is_same = labels.unsqueeze(1) == others[0]
    chosen, refused = is_same.clone(), ~is_same
    if positives != "all" or negatives != "all":
        is_near = images.unsqueeze(1) == others[1]
        if positives != "all":
            chosen &= is_near if positives == "same_image" else ~is_near
        if negatives != "all":
            refused &= is_near
    return PairMasks(chosen.fill_diagonal_(False), refused)


def pixel_contrast_loss(
    rows: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    images: Int[Tensor, " samples"],
    *,
    temperature: float = 0.1,
    positives: Positives = "all",
    negatives: Negatives = "all",
    form: Form = "contrastive_seg",
    base_temperature: float | None = None,
    keys: Keys | None = None,
) -> Float[Tensor, ""]:
    r"""Return the loss of sampled pixels, of which those of one label are to be alike.

    With ``s_ij`` the cosine of two pixels over the temperature, ``P_i`` the positives and ``N_i`` the negatives of an
    anchor (:func:`pair_masks`), and ``V`` the anchors that have both,

    .. math:: \frac{1}{|V|} \sum_{i \in V} \frac{1}{|P_i|} \sum_{j \in P_i}
       -\log \frac{e^{s_{ij}}}{e^{s_{ij}} + \sum_{k \in N_i} e^{s_{ik}}} .

    This form, ``contrastive_seg``, is that of ContrastiveSeg: a positive is contrasted with the negatives alone. With
    ``supcon`` the sum in the denominator runs over all positives and negatives, and over nothing beside. With ``zhao``
    the anchor is a positive of itself, and anchors without negatives count with 0.

    Sources: above in this module.

    Args:
        rows: of length one.
        labels: of each pixel.
        images: a number for each one's image.
        temperature: what cosines are divided by, > 0.
        positives: see :func:`pair_masks`.
        negatives: see there.
        form: which loss.
        base_temperature: the loss is multiplied by ``temperature`` over it, as in ContrastiveSeg; ``None`` leaves it.
        keys: further pixels to compare with, such as a memory's.

    Returns:
        Nats, at least float32; attached, twice differentiable. 0 with a gradient of 0 where no anchor counts.

    Cost: ``samples x dim x keys`` multiply-adds, and some five matrices ``samples x keys`` with the backward pass.

    Example:
        >>> rows, labels = torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1])
        >>> pixel_contrast_loss(rows, labels, torch.zeros(4, dtype=torch.int64), temperature=1.0)  # ln(1 + 2 / e)
        tensor(0.5514)
    """
    masks = pair_masks(labels, images, positives=positives, negatives=negatives, keys=keys)
    counts = _count_pairs(masks.positives) * _count_pairs(masks.negatives)
    if form == "zhao":
        masks.positives.fill_diagonal_(True)
        counts = _count_pairs(masks.positives)
    rows = rows.float() if rows.dtype.itemsize < 4 else rows
    others = rows if keys is None else torch.cat([rows, keys.rows.to(rows.dtype)])
    scores = (rows / temperature) @ others.T
    losses = _contrast_supcon(scores, masks) if form == "supcon" else _contrast_each(scores, masks)
    # Of a batch in which nothing can be compared the sum is 0, attached to the graph.
    loss = torch.where(counts > 0, losses, 0).sum() / (counts > 0).sum().clamp_min(1)
    return loss if base_temperature is None else loss * (temperature / base_temperature)


def _contrast_each(scores: Float[Tensor, "samples keys"], masks: PairMasks) -> Float[Tensor, " samples"]:
    """Return each anchor's mean over its positives of ``-log(e^s / (e^s + sum of its negatives'))``."""
    rest = _log_sum(scores, masks.negatives)
    terms = functional.softplus(rest.unsqueeze(1) - scores, threshold=_EXACT)
    return _mean_over(terms, masks.positives)


def _contrast_supcon(scores: Float[Tensor, "samples keys"], masks: PairMasks) -> Float[Tensor, " samples"]:
    """Return each anchor's mean over its positives of ``-log(e^s / sum of all its positives' and negatives')``."""
    return _log_sum(scores, masks.positives | masks.negatives) - _mean_over(scores, masks.positives)


def _log_sum(scores: Float[Tensor, "samples keys"], mask: Bool[Tensor, "samples keys"]) -> Float[Tensor, " samples"]:
    """Return the logarithm of the sum of ``e^s`` over the mask; a very small number where it is empty.

    Not minus infinity, whose gradient is not a number, also where it is multiplied by 0.
    """
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min / 2).logsumexp(1)


def _mean_over(values: Float[Tensor, "samples keys"], mask: Bool[Tensor, "samples keys"]) -> Float[Tensor, " samples"]:
    """Return the mean of each row over the mask; 0 where it is empty."""
    weights = mask.to(values.dtype) / _count_pairs(mask).clamp_min(1).unsqueeze(1)
    return (values * weights).sum(1)


def _count_pairs(mask: Bool[Tensor, "samples keys"]) -> Int[Tensor, " samples"]:
    """Return the size of each row's mask; ``any`` takes ten times as long as this sum."""
    return mask.sum(1)
