"""Weights that give two columns the joint frequencies that one wants."""

import pytest
import torch

from auxo.errors import DataError
from auxo.layers.cell_weights import count_cells, effective_size, independence_weights, weigh_cells


def draw_columns(count=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(3, (count,), generator=generator)
    second = (torch.rand(count, generator=generator) < torch.tensor([0.2, 0.6, 0.9])[first]).long()
    return first, second


def share_pairs(first, second, weights, shape=(3, 2)):
    shares = torch.zeros(shape, dtype=torch.float64)
    for y, v, weight in zip(first.tolist(), second.tolist(), weights.tolist(), strict=True):
        shares[y, v] += weight / len(first)
    return shares


def test_independence_weights__dependent_columns__joint_is_the_product_of_the_marginals_to_rounding():
    first, second = draw_columns()
    u = independence_weights(first, second)
    joint = share_pairs(first, second, u)
    before = share_pairs(first, second, torch.ones(400))
    assert (before - torch.outer(before.sum(1), before.sum(0))).abs().max() > 0.02
    torch.testing.assert_close(joint, torch.outer(before.sum(1), before.sum(0)), atol=1e-12, rtol=0)
    assert float(u.sum()) == pytest.approx(400, abs=1e-10)


def test_independence_weights__independent_columns__all_1():
    first, second = torch.arange(12) % 3, torch.arange(12) // 3 % 2
    torch.testing.assert_close(independence_weights(first, second), torch.ones(12, dtype=torch.float64))


def test_independence_weights__a_strong_shortcut__are_those_of_the_formula():
    cells = {(1, 1): 2196, (0, 1): 756, (1, 0): 244, (0, 0): 6804}  # P(y = 1) = .244, V = Y with probability .9
    first = torch.cat([torch.full((n,), y) for (y, _), n in cells.items()])
    second = torch.cat([torch.full((n,), v) for (_, v), n in cells.items()])
    u = independence_weights(first, second)
    found = [float(u[(first == y) & (second == v)][0]) for y, v in cells]
    assert found == pytest.approx([0.33, 2.95, 7.05, 0.78], abs=0.01)
    assert effective_size(u) / 10_000 == pytest.approx(0.43, abs=0.01)


def test_weigh_cells__any_joint_frequencies__are_reproduced_exactly_and_equal_within_a_cell():
    first, second = draw_columns()
    wanted = torch.tensor([[0.1, 0.2], [0.25, 0.05], [0.15, 0.25]], dtype=torch.float64)
    weights = weigh_cells(first, second, wanted)
    torch.testing.assert_close(share_pairs(first, second, weights), wanted, atol=1e-12, rtol=0)
    assert all(len(weights[(first == y) & (second == v)].unique()) == 1 for y in range(3) for v in range(2))


def test_weigh_cells__a_cell_without_images__is_refused_where_it_is_wanted_alone():
    first, second = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    with pytest.raises(DataError, match=r"pair \(1, 0\)"):
        independence_weights(first, second)
    weights = weigh_cells(first, second, torch.tensor([[0.25, 0.25], [0.0, 0.5]]))
    assert weights.tolist() == pytest.approx([0.75, 0.75, 1.5])


def test_count_cells__pairs__counted_in_a_table():
    counts = count_cells(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 0]), shape=(2, 3))
    assert counts.tolist() == [[0, 0, 1], [2, 0, 0]]


def test_effective_size__equal_weights_and_one_heavy__their_number_and_one():
    assert effective_size(torch.full((7,), 3.0)) == pytest.approx(7)
    assert effective_size(torch.tensor([1.0, 0.0, 0.0])) == 1
    assert effective_size(torch.zeros(2)) == 0
