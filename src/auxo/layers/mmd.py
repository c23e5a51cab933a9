"""Maximum mean discrepancy: how far apart two weighted groups of feature vectors are."""

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.errors import ConfigError

SOURCE = (
    "Gretton, Borgwardt, Rasch, Schoelkopf, Smola, A Kernel Two-Sample Test, JMLR 13, 2012: the squared discrepancy "
    "(Eq. 2), its biased (Eq. 5) and unbiased (Eq. 3) estimates, the median distance as length scale (section 8). "
    "Weights of images as in the released code of Makar et al., Causally motivated Shortcut Removal Using Auxiliary "
    "Labels, AISTATS 2022 (github.com/mymakar/causally_motivated_shortcut_removal). The unbiased form for weights is "
    "ours: the diagonal is left out and the rest is scaled to the sum 1."
)


def gaussian_kernel(
    features: Float[Tensor, "n dim"], *, length_scale: float | Float[Tensor, ""]
) -> Float[Tensor, "n n"]:
    r"""Return ``K_ij = exp(-||z_i - z_j||^2 / (2 s^2))`` with the length scale ``s``; attached.

    Args:
        features: shape ``(n, dim)``; half precision is computed in float32. Call it outside autocast.
        length_scale: in units of the features, > 0; see :func:`median_length_scale`.

    Raises:
        ConfigError: the length scale, given as a number, is not above 0.

    Cost: ``n^2 dim`` multiplications and ``n^2`` numbers.
    """
    if isinstance(length_scale, float | int) and not length_scale > 0:
        raise ConfigError("a length scale above 0", str(length_scale), "give for instance the median distance")
    return torch.exp(-_square_distances(features) / (2 * length_scale**2))


def median_length_scale(features: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
    """Return the median distance between two different vectors; detached; 1 where it is 0, as no scale is better then.

    Args:
        features: shape ``(n, dim)``; any number of them.
    """
    distances = _square_distances(features.detach())
    row, column = torch.triu_indices(len(features), len(features), offset=1, device=features.device)
    if not len(row):
        return distances.new_ones(())
    median = distances[row, column].median().sqrt()
    return torch.where(median > 0, median, 1.0)


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
        kernel: of all images of a batch, such as :func:`gaussian_kernel` gives; symmetric.
        first: weights of the images in the first group, >= 0; 0 for those outside; any scale. Leading dimensions stand
            for several pairs of groups at once.
        second: of the second group.
        is_unbiased: whether the diagonal is left out.

    Returns:
        One number for every pair of groups. 0, with gradients of 0, where a group has no image, or for the unbiased
        estimate fewer than two.

    Example:
        >>> kernel = gaussian_kernel(torch.tensor([[0.0], [0.0], [9.0], [9.0]]), length_scale=1.0)
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
    is_there = (weights > 0).sum(-1) > (1 if is_unbiased else 0)
    products = weights @ kernel @ weights.mT
    within = products.diagonal(dim1=-2, dim2=-1)
    if is_unbiased:
        own = weights**2
        within = (within - own @ kernel.diagonal()) / torch.where(is_there, 1 - own.sum(-1), 1.0)
    values = within[..., :, None] + within[..., None, :] - 2 * products
    if not is_unbiased:
        values = values.clamp_min(0)  # each is a square, up to rounding
    is_pair = is_there[..., :, None] & is_there[..., None, :]
    is_pair = is_pair & ~torch.eye(weights.shape[-2], dtype=torch.bool, device=weights.device)
    return torch.where(is_pair, values, 0.0)


def _square_distances(features: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
    """Return squared distances of all pairs."""
    wide = features if features.dtype.itemsize >= 4 else features.float()
    # Norms and products nearly cancel for near vectors far from the origin: the mean goes first.
    wide = wide - wide.mean(0)
    norms = (wide**2).sum(1)
    distances = (norms[:, None] + norms[None, :] - 2 * wide @ wide.T).clamp_min(0)
    return distances * (1 - torch.eye(len(wide), dtype=wide.dtype, device=wide.device))
