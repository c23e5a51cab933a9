"""Tests of whether something depends on a group within strata, by random orders of the groups within them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from auxo.data import stratified_indices
from auxo.evaluation.audit.findings import AuditConfig, Embeddings, PermutationTest
from auxo.layers.cell_weights import count_cells, independence_weights
from auxo.layers.mmd import median_distance, pairwise_distances, pairwise_squared_mmd
from auxo.losses.kernels.rbf import RBF
from auxo.random import derive_seed, named_generator, permute_within
from auxo.tasks import permutation_p_value

SOURCE = (
    "The permutation test of a column within the classes is the usual one of conditional independence given a discrete "
    "variable. Discrepancies: see auxo/layers/mmd.py. That this test is made of features, and not the t-test of three "
    "parts in the code of Makar et al., AISTATS 2022, is ours: theirs rejects nearly always where nothing differs."
)


def choose_compared(strata: Int[Tensor, " n"], groups: Int[Tensor, " n"], *, fewest: int) -> Bool[Tensor, " n"]:
    """Return which images are compared: those of cells of at least so many, in strata with two such cells or more."""
    is_large = _count_all(strata, groups) >= fewest
    is_large = is_large & (is_large.sum(1, keepdim=True) > 1)
    return is_large[strata, groups]


def compare_means(
    values: Float[Tensor, " n"], strata: Int[Tensor, " n"], groups: Int[Tensor, " n"], *, permutations: int, seed: int
) -> PermutationTest:
    """Return the test of whether the means of images' values differ between groups of one stratum.

    The statistic is the mean squared distance of the mean of an image's cell from the mean of its stratum.

    Args:
        values: shape ``(n,)``; float64.
        strata: shape ``(n,)``.
        groups: shape ``(n,)``.
        permutations: random orders, >= 1.
        seed: of them.
    """
    counts = _count_all(strata, groups)
    means = torch.zeros(len(counts), dtype=torch.float64).index_add(0, strata, values) / counts.sum(1).clamp_min(1)
    rest = values - means[strata]
    sizes = counts.flatten().clamp_min(1)  # orders within strata keep them

    def measure(drawn: Int[Tensor, "draws n"]) -> Float[Tensor, " draws"]:
        sums = torch.zeros(len(drawn), len(sizes), dtype=torch.float64)
        sums.scatter_add_(1, strata * counts.shape[1] + drawn, rest.expand(len(drawn), -1))
        return (sums**2 / sizes).sum(1) / len(values)

    generator = named_generator(seed, "predictions")
    orders = permute_within(strata, draws=permutations, generator=generator)
    return _make_test(float(measure(groups[None])), torch.cat([measure(groups[order]) for order in orders]))


def compare_embeddings(
    features: Float[Tensor, "n dim"],
    strata: Int[Tensor, " n"],
    groups: Int[Tensor, " n"],
    *,
    config: AuditConfig,
    seed: int,
) -> Embeddings:
    """Return the test of whether features differ between groups of one stratum.

    The statistic is the squared discrepancy (biased, Gaussian kernel with the median distance) between every two groups
    of a stratum, averaged over pairs by the product of their shares, and over strata by their images.

    Args:
        features: shape ``(n, dim)``.
        strata: shape ``(n,)``.
        groups: shape ``(n,)``; every stratum has two or more.
        config: numbers of permutations and of images.
        seed: of both draws.
    """
    features, strata, groups = _draw_images(features, strata, groups, config=config, seed=seed)
    distances = pairwise_distances(features)
    scale = float(median_distance(distances))
    kernel = RBF(sigma=scale).compare_distances(distances)
    blocks = [(strata == number).nonzero().flatten() for number in strata.unique().tolist()]
    kernels = [kernel[places][:, places] for places in blocks]
    num_groups = int(groups.max()) + 1

    def measure(drawn: Int[Tensor, "draws n"]) -> Float[Tensor, " draws"]:
        total = torch.zeros(len(drawn), dtype=torch.float64)
        for places, own in zip(blocks, kernels, strict=True):
            members = _mark_members(drawn[:, places], num_groups).double()
            total += len(places) * _average_pairs(pairwise_squared_mmd(own, members), members.sum(-1))
        return total / len(strata)

    generator = named_generator(seed, "features")
    orders = permute_within(strata, draws=config.permutations, generator=generator)
    test = _make_test(float(measure(groups[None])), torch.cat([measure(groups[order]) for order in orders]))
    return Embeddings(test, _weigh_discrepancy(kernel, strata, groups), scale, len(strata))


def _draw_images(
    features: Float[Tensor, "n dim"],
    strata: Int[Tensor, " n"],
    groups: Int[Tensor, " n"],
    *,
    config: AuditConfig,
    seed: int,
) -> tuple[Float[Tensor, "m dim"], Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Return at most so many images, in the proportions of their cells."""
    if len(features) <= config.num_embedded:
        return features, strata, groups
    cells = strata * (int(groups.max()) + 1) + groups
    size = max(config.num_embedded, len(cells.unique()))
    (places,) = stratified_indices(cells, [size], seed=derive_seed(seed, "images"))
    return features[places], strata[places], groups[places]


def _count_all(strata: Int[Tensor, " n"], groups: Int[Tensor, " n"]) -> Int[Tensor, "strata groups"]:
    """Return the images of every stratum and group up to the largest numbers."""
    return count_cells(strata, groups, shape=(max(strata.tolist(), default=0) + 1, max(groups.tolist(), default=0) + 1))


def _mark_members(groups: Int[Tensor, "*sets n"], num_groups: int) -> Bool[Tensor, "*sets groups n"]:
    """Return which images are of each group."""
    return groups.unsqueeze(-2) == torch.arange(num_groups).unsqueeze(1)


def _average_pairs(
    values: Float[Tensor, "*sets groups groups"], sizes: Float[Tensor, "*sets groups"]
) -> Float[Tensor, "*sets"]:
    """Return the mean over pairs of groups, by the products of their sizes."""
    products = sizes[..., :, None] * sizes[..., None, :] * (1 - torch.eye(sizes.shape[-1], dtype=sizes.dtype))
    return (values * products).sum((-2, -1)) / products.sum((-2, -1)).clamp_min(1)


def _weigh_discrepancy(
    kernel: Float[Tensor, "n n"], strata: Int[Tensor, " n"], groups: Int[Tensor, " n"]
) -> float | None:
    """Return the discrepancy where weights make strata and groups independent; ``None`` where a cell is empty."""
    (_, rows), (_, columns) = (each.unique(return_inverse=True) for each in (strata, groups))
    counts = _count_all(rows, columns)
    if not counts.all():
        return None
    members = _mark_members(columns, counts.shape[1]).double()
    found = pairwise_squared_mmd(kernel, members * independence_weights(counts)[rows, columns])
    return float(_average_pairs(found, members.sum(-1)))


def _make_test(observed: float, drawn: Float[Tensor, " draws"]) -> PermutationTest:
    """Return a test whose p-value is not yet corrected."""
    p = permutation_p_value(observed, drawn)
    return PermutationTest(observed, float(drawn.mean()), p, p)
