"""The two numbers that say whether embeddings still tell images apart."""

import math

import pytest
import torch

from auxo.pretexts import collapse_metrics, effective_rank, embedding_std


def normal(count, size, dtype=torch.float64):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 2, 100, 300])
def test_both__constant_embeddings__std_0_and_rank_1(count, dtype):
    rows = normal(1, 64, dtype).expand(count, 64)
    assert embedding_std(rows).item() < 1e-6
    assert effective_rank(rows).item() == 1.0


def test_both__all_zero__std_0_and_rank_1():
    assert embedding_std(torch.zeros(4, 3)).item() == 0.0
    assert effective_rank(torch.zeros(4, 3)).item() == 1.0


def test_both__constant_up_to_rounding__rank_1():
    rows = torch.ones(50, 40) + 1e-8 * normal(50, 40).float()
    noisy = (rows * 0.1) * 10  # differs in the last place
    assert effective_rank(noisy).item() == 1.0


def test_embedding_std__isotropic__is_1_for_every_length():
    for size in (8, 256):
        assert embedding_std(normal(4000, size)).item() == pytest.approx(1.0, abs=0.01)


def test_embedding_std__by_hand():
    rows = torch.tensor([[3.0, 0.0], [0.0, 5.0]], dtype=torch.float64)  # unit vectors along the axes: std 1/2 each
    assert embedding_std(rows).item() == pytest.approx(0.5 * math.sqrt(2), abs=1e-15)


def test_embedding_std__another_scale_of_any_row__is_the_same():
    rows = normal(20, 6)
    scales = torch.linspace(0.1, 50, 20, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(embedding_std(rows * scales), embedding_std(rows), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("count", "size"), [(12, 5), (5, 12)])
def test_effective_rank__any_matrix__is_the_exponential_of_the_singular_values_entropy(count, size):
    rows = normal(count, size) + 3
    values = torch.linalg.svdvals(rows - rows.mean(0))
    shares = values / values.sum()
    shares = shares[shares > 1e-12]
    expected = torch.exp(-(shares * shares.log()).sum())
    torch.testing.assert_close(effective_rank(rows), expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_effective_rank__equal_directions__is_their_number_and_not_that_of_the_mean(rank):
    axes = torch.eye(8, dtype=torch.float64)[:rank]
    rows = torch.cat([axes, -axes]) + 100 * torch.ones(8, dtype=torch.float64)
    assert effective_rank(rows).item() == pytest.approx(rank, rel=1e-6)


def test_metrics__of_attached_embeddings__are_detached_scalars():
    rows = normal(16, 8, torch.float32).requires_grad_()
    metrics = collapse_metrics(rows)
    assert list(metrics) == ["embedding_std", "effective_rank"]
    for value in metrics.values():
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert not value.requires_grad
