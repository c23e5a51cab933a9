"""Maximum mean discrepancy: how far apart two weighted groups of feature vectors are."""

import torch
from jaxtyping import Float
from torch import Tensor

SOURCE = (
    "Gretton, Borgwardt, Rasch, Schoelkopf, Smola, A Kernel Two-Sample Test, JMLR 13, 2012: the squared discrepancy "
    "(Eq. 2), its biased (Eq. 5) and unbiased (Eq. 3) estimates, the median distance as length scale (section 8). "
    "Weights of images as in the released code of Makar et al., Causally motivated Shortcut Removal Using Auxiliary "
    "Labels, AISTATS 2022 (github.com/mymakar/causally_motivated_shortcut_removal). The unbiased form for weights is "
    "ours: the diagonal is left out and the rest is scaled to the sum 1."
)


def pairwise_distances(rows: Float[Tensor, "n dim"], *, norm: float = 2.0) -> Float[Tensor, "n n"]:
    """Return the distances of all pairs of rows, attached; 0 with a gradient of 0 where two rows are equal.

    Args:
        rows: of at least 32 bits.
        norm: 2 for Euclidean distances, 1 for the sum of absolute differences.

    Cost: ``n^2 dim`` operations and ``n^2`` numbers.
    """
    # Differences, not products of rows: those lose the small distances of rows far from the origin or from the mean.
    return torch.cdist(rows, rows, p=norm, compute_mode="donot_use_mm_for_euclid_dist")


def median_distance(distances: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Return the median distance of two different rows, detached; 1 where it is 0 or there is no second row.

    Args:
        distances: of all pairs of rows; see :func:`pairwise_distances`.
    """
    pairs = distances.detach()[~torch.eye(len(distances), dtype=torch.bool, device=distances.device)]
    if not len(pairs):
        return distances.new_ones(())
    middle = pairs.median()
    return torch.where(middle > 0, middle, 1.0)


def squared_mmd(
    kernel: Float[Tensor, "n n"],
    first: Float[Tensor, "*sets n"],
    second: Float[Tensor, "*sets n"],
    *,
    is_unbiased: bool = False,
) -> Float[Tensor, "*sets"]:
    r"""Return the squared maximum mean discrepancy between two groups of weighted images; attached.

    With ``a`` and ``b`` the weights of the groups, scaled to the sum 1, it is ``a'Ka + b'Kb - 2 a'Kb``. This estimate
    (a V-statistic) is at least 0 and biased upwards: where both groups are of one law its mean is
    ``(sum a^2 + sum b^2) (1 - E k)``. The unbiased one (a U-statistic) leaves the diagonal out of the first two terms
    and divides them by ``1 - sum a^2`` and ``1 - sum b^2``; it may be below 0. Groups must share no image there.

    Args:
        kernel: of all images of a batch, such as those in :mod:`auxo.losses.kernels` give; symmetric.
        first: weights of the images in the first group, >= 0; 0 for those outside; any scale. Leading dimensions stand
            for several pairs of groups at once.
        second: of the second group.
        is_unbiased: whether the diagonal is left out.

    Returns:
        One number for every pair of groups. 0, with gradients of 0, where a group has no image, or for the unbiased
        estimate fewer than two.

    Example:
        >>> kernel = torch.exp(-(pairwise_distances(torch.tensor([[0.0], [0.0], [9.0], [9.0]])) ** 2))
        >>> float(squared_mmd(kernel, torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 0, 1, 1])))
        2.0
    """
    groups = torch.stack(torch.broadcast_tensors(first, second), dim=-2)
    return pairwise_squared_mmd(kernel, groups, is_unbiased=is_unbiased)[..., 0, 1]


def pairwise_squared_mmd(
    kernel: Float[Tensor, "n n"], groups: Float[Tensor, "*sets groups n"], *, is_unbiased: bool = False
) -> Float[Tensor, "*sets groups groups"]:
    """Return the squared discrepancy between every two of several groups; see :func:`squared_mmd`.

    Args:
        kernel: of all images; symmetric.
        groups: weights of the images in every group, >= 0; 0 for those outside; any scale.
        is_unbiased: whether the diagonal is left out.

    Returns:
        For every two groups; 0 of a group with itself and where a group has no image, or for the unbiased estimate
        fewer than two.

    Cost: ``groups n^2`` multiplications for every leading set.
    """
    weights = groups.to(kernel.dtype)
    total = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(total > 0, total, 1.0)
    is_there = total[..., 0] > 0
    products = weights @ kernel @ weights.mT
    within = products.diagonal(dim1=-2, dim2=-1)
    if is_unbiased:
        squares = weights**2
        room = 1 - squares.sum(-1)
        is_there = is_there & (room > 8 * torch.finfo(room.dtype).eps)  # one image has none, but for rounding
        within = (within - squares @ kernel.diagonal()) / torch.where(is_there, room, 1.0)
    values = within[..., :, None] + within[..., None, :] - 2 * products
    if not is_unbiased:
        values = values.clamp_min(0)  # each is a square, up to rounding
    is_pair = is_there[..., :, None] & is_there[..., None, :]
    is_pair = is_pair & ~torch.eye(weights.shape[-2], dtype=torch.bool, device=weights.device)
    return torch.where(is_pair, values, 0.0)
