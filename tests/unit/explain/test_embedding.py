"""t-SNE of features."""

import numpy as np
import pytest
import torch

from auxo.errors import ConfigError, DataError, NonFiniteError
from auxo.explain import embed


def groups(count: int = 60, dim: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features in three groups far apart, and the groups."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    centres = 20 * torch.eye(3, dim)
    return centres[labels] + torch.randn(count, dim, generator=generator), labels


def test_embed__three_groups__keeps_neighbours_together():
    features, labels = groups()
    found = embed(features, perplexity=10.0, seed=0)
    assert found.points.shape == (60, 2)
    assert np.isfinite(found.points).all()
    distances = np.linalg.norm(found.points[:, None] - found.points[None], axis=-1) + np.diag([np.inf] * 60)
    nearest = distances.argmin(axis=1)
    assert (labels[nearest] == labels).all()
    assert found.divergence > 0


def test_embed__same_seed__equal_points():
    features, _ = groups()
    first, second = (embed(features, seed=3) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    assert first.divergence == second.divergence


@pytest.mark.parametrize(("count", "expected"), [(120, 30.0), (61, 20.0), (4, 1.0), (2, 1.0)])
def test_embed__default_perplexity__is_lowered_for_few(count, expected):
    features, _ = groups(count)
    found = embed(features, seed=0)
    assert found.perplexity == expected
    assert found.points.shape == (count, 2)


def test_embed__one_feature__works():
    assert embed(torch.arange(6.0).view(-1, 1), seed=0).points.shape == (6, 2)


@pytest.mark.parametrize("perplexity", [6.0, 40.0, 0.5])
def test_embed__perplexity_out_of_range__is_refused(perplexity):
    with pytest.raises(ConfigError, match=rf"a perplexity in \[1, 6\), for 6 images, got {perplexity:g}"):
        embed(groups(6)[0], perplexity=perplexity, seed=0)


def test_embed__one_picture__is_refused():
    with pytest.raises(DataError, match="at least 2 images for t-SNE, got 1"):
        embed(torch.rand(1, 5), seed=0)


def test_embed__equal_features__are_refused():
    with pytest.raises(DataError, match="features that differ"):
        embed(torch.ones(7, 5), seed=0)


def test_embed__nan__is_refused():
    features, _ = groups(9)
    features[4, 2] = torch.nan
    with pytest.raises(NonFiniteError, match="finite features"):
        embed(features, seed=0)
