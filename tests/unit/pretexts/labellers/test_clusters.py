"""Spherical k-means: what it finds, what it does not depend on, and what it refuses."""

import pytest
import torch
from torch.nn import functional

from auxo.errors import DataError
from auxo.pretexts.labellers._clusters import cluster_directions


def draw_rows(count=300, clusters=4, *, noise=0.05, seed=0):
    """Rows around well separated directions, of any length, and which direction each is around."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q[:clusters]
    members = torch.arange(count) % clusters
    rows = centres[members] + noise * torch.randn(count, 8, generator=generator)
    return rows * (0.1 + 5 * torch.rand(count, 1, generator=generator)), members


def cluster(rows, count, *, seed=0, restarts=3):
    return cluster_directions(rows, count, restarts=restarts, generator=torch.Generator().manual_seed(seed))


def test_cluster_directions__rows_around_four_directions__finds_them_whatever_their_lengths():
    rows, members = draw_rows()
    found = cluster(rows, 4)
    nearest = (functional.normalize(rows) @ found.centroids.T).argmax(1)
    assert len({(int(a), int(b)) for a, b in zip(nearest, members, strict=True)}) == 4
    torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(4))


def test_cluster_directions__end__is_a_fixed_point_of_the_means_of_members():
    rows, _ = draw_rows(noise=0.6)
    found = cluster(rows, 5)
    units = functional.normalize(rows)
    nearest = (units @ found.centroids.T).argmax(1)
    means = torch.stack([units[nearest == number].mean(0) for number in range(5)])
    torch.testing.assert_close(found.centroids, functional.normalize(means), atol=1e-5, rtol=0)
    expected = 1 - (units @ found.centroids.T).amax(1).mean()
    assert found.inertia == pytest.approx(float(expected), abs=1e-6)


def test_cluster_directions__under_a_seed__is_one_answer_and_more_restarts_are_never_worse():
    rows, _ = draw_rows(noise=0.8)
    assert torch.equal(cluster(rows, 6).centroids, cluster(rows, 6).centroids)
    assert not torch.equal(cluster(rows, 6).centroids, cluster(rows, 6, seed=1).centroids)
    runs = [cluster(rows, 6, restarts=restarts).inertia for restarts in (1, 20)]
    assert runs[1] <= runs[0]


def test_cluster_directions__rows_of_zeros__are_left_out():
    rows, _ = draw_rows()
    more = torch.cat([rows, torch.zeros(50, 8)])
    assert torch.equal(cluster(more, 4).centroids, cluster(rows, 4).centroids)


@pytest.mark.parametrize("rows", [torch.zeros(5, 3), torch.ones(5, 3) * torch.arange(1, 6)[:, None]])
def test_cluster_directions__fewer_directions_than_clusters__are_refused(rows):
    with pytest.raises(DataError, match=r"pixels that differ for 2 clusters, got [01] different"):
        cluster(rows, 2)
