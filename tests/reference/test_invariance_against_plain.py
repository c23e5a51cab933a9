"""Discrepancies and dependence against double loops."""

import functools

import pytest
import torch

from auxo.layers.cell_weights import count_cells, independence_weights
from auxo.losses.invariance import discrepancy, find_dependence
from auxo.losses.kernels.energy import Energy
from auxo.losses.kernels.laplace import Laplace
from auxo.losses.kernels.rbf import RBF

from . import invariance_plain as plain

KERNELS = {"rbf": (RBF(sigma=1.7), 1.7), "laplace": (Laplace(sigma=2.5), 2.5), "energy": (Energy(), None)}


@pytest.fixture
def data():
    draws = torch.Generator().manual_seed(3)
    rows = torch.randn(17, 4, generator=draws, dtype=torch.float64)
    classes = torch.randint(2, (17,), generator=draws)
    values = torch.randint(3, (17,), generator=draws)
    return rows, classes, values


@pytest.mark.parametrize("name", KERNELS)
def test_discrepancy__three_values_weighted__is_the_sum_of_double_loops_over_pairs(data, name):
    rows, classes, values = data
    kernel, sigma = KERNELS[name]
    weights = plain.weigh_one_by_one(classes.tolist(), values.tolist())
    own = functools.partial(getattr(plain, name), **({} if sigma is None else {"sigma": sigma}))
    compare = (lambda a, b: plain.energy(a, b, None)) if name == "energy" else own
    masks = [[w * (v == k) for w, v in zip(weights, values.tolist(), strict=True)] for k in range(3)]
    expected = sum(plain.mmd(rows.tolist(), masks[a], masks[b], compare) for a in range(3) for b in range(a))
    counts = count_cells(classes, values, shape=(2, 3))
    ours = independence_weights(counts)[classes, values]
    assert torch.allclose(ours, torch.tensor(weights, dtype=torch.float64), rtol=1e-12)
    found = discrepancy(kernel.compare(rows), values, ours, num_values=3)
    assert float(found) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("contrast", ["pairs", "rest"])
def test_discrepancy__unbiased__is_that_of_double_loops(data, contrast):
    rows, _, values = data
    compare = functools.partial(plain.rbf, sigma=1.7)
    masks = [[float(v == k) for v in values.tolist()] for k in range(3)]
    rest = [[1 - w for w in mask] for mask in masks]
    pairs = [(masks[a], masks[b]) for a in range(3) for b in range(a)]
    sides = pairs if contrast == "pairs" else [*zip(masks, rest, strict=True)]
    expected = sum(plain.unbiased_mmd(rows.tolist(), one, other, compare) for one, other in sides)
    kernel, ones = RBF(sigma=1.7).compare(rows), torch.ones(17, dtype=torch.float64)
    found = discrepancy(kernel, values, ones, num_values=3, estimator="unbiased", contrast=contrast)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_find_dependence__weighted__is_that_of_double_loops(data):
    rows, classes, values = data
    weights = plain.weigh_one_by_one(classes.tolist(), values.tolist())
    expected = plain.hsic(rows.tolist(), values.tolist(), weights, functools.partial(plain.rbf, sigma=1.7))
    kernel = RBF(sigma=1.7).compare(rows)
    found = find_dependence(kernel, values, torch.tensor(weights, dtype=torch.float64), num_values=3)
    assert expected > 0.001
    assert float(found) == pytest.approx(expected, abs=1e-12)
