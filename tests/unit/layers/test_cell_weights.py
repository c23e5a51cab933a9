"""Weights that give two columns the joint frequencies that one wants."""

import pytest
import torch

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
    u = independence_weights(count_cells(first, second, shape=(3, 2)))[first, second]
    joint = share_pairs(first, second, u)
    before = share_pairs(first, second, torch.ones(400))
    assert (before - torch.outer(before.sum(1), before.sum(0))).abs().max() > 0.02
    torch.testing.assert_close(joint, torch.outer(before.sum(1), before.sum(0)), atol=1e-12, rtol=0)
    assert float(u.sum()) == pytest.approx(400, abs=1e-10)


def test_independence_weights__independent_columns__all_1():
    found = independence_weights(torch.tensor([[30, 60, 90], [10, 20, 30]]))
    torch.testing.assert_close(found, torch.ones(2, 3, dtype=torch.float64))


def test_independence_weights__a_strong_shortcut__are_those_of_the_formula():
    counts = torch.tensor([[6804, 756], [244, 2196]])  # P(y = 1) = .244, V = Y with probability .9
    u = independence_weights(counts)
    assert u.flatten().tolist() == pytest.approx([0.78, 2.95, 7.05, 0.33], abs=0.01)
    assert effective_size(u.flatten().repeat_interleave(counts.flatten())) / 10_000 == pytest.approx(0.43, abs=0.01)


def test_independence_weights__inverse__makes_classes_equally_frequent_too():
    counts = count_cells(*draw_columns(), shape=(3, 2))
    joint = counts * independence_weights(counts, "inverse")
    torch.testing.assert_close(joint, counts.sum(0).double().expand(3, 2))


def test_weigh_cells__any_joint_frequencies__are_reproduced_exactly_and_equal_within_a_cell():
    first, second = draw_columns()
    wanted = torch.tensor([[0.1, 0.2], [0.25, 0.05], [0.15, 0.25]], dtype=torch.float64)
    weights = weigh_cells(count_cells(first, second, shape=(3, 2)), wanted)[first, second]
    torch.testing.assert_close(share_pairs(first, second, weights), wanted, atol=1e-12, rtol=0)
    assert all(len(weights[(first == y) & (second == v)].unique()) == 1 for y in range(3) for v in range(2))


def test_weigh_cells__a_cell_without_images__has_no_weight_and_spoils_no_other():
    weights = weigh_cells(torch.tensor([[1, 1], [0, 1]]), torch.tensor([[0.25, 0.25], [0.3, 0.2]]))
    assert weights.flatten().tolist() == pytest.approx([0.75, 0.75, 0, 0.6])


def test_count_cells__pairs__counted_in_a_table():
    counts = count_cells(torch.tensor([0, 1, 1]), torch.tensor([2, 0, 0]), shape=(2, 3))
    assert counts.tolist() == [[0, 0, 1], [2, 0, 0]]


def test_effective_size__equal_weights_and_one_heavy__their_number_and_one():
    assert effective_size(torch.full((7,), 3.0)) == pytest.approx(7)
    assert effective_size(torch.tensor([1.0, 0.0, 0.0])) == 1
    assert effective_size(torch.zeros(2)) == 0
