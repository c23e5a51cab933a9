"""Heads: first weights of their own streams, and cosines."""

import pytest
import torch
from torch import nn

from auxo.layers.heads import PlaceHead, class_head, cosine_head, linear_head


def test_cosine_head__outputs__are_the_cosines():
    head = cosine_head("semantic", 5, 3, seed=0).double()
    features = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = nn.functional.cosine_similarity(features.unsqueeze(1), head.weight.unsqueeze(0), dim=2)
    assert torch.allclose(head(features), expected, atol=1e-14)
    assert torch.allclose(head(100 * features), head(features), atol=1e-14)
    assert head(features).abs().max() <= 1


def test_cosine_head__features_of_a_class__have_cosine_1_and_zeros_0():
    head = cosine_head("semantic", 8, 3, seed=0)
    assert torch.allclose(head(7 * head.weight).diagonal(), torch.ones(3), atol=1e-6)
    assert torch.equal(head(torch.zeros(2, 8)), torch.zeros(2, 3))


def test_cosine_head__first_weights__have_length_1_and_follow_name_and_seed():
    head = cosine_head("semantic", 8, 3, seed=0)
    assert torch.allclose(head.weight.norm(dim=1), torch.ones(3))
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    assert torch.equal(head.weight, cosine_head("semantic", 8, 3, seed=0).weight)
    assert not torch.equal(head.weight, cosine_head("rotation", 8, 3, seed=0).weight)
    assert not torch.equal(head.weight, cosine_head("semantic", 8, 3, seed=1).weight)


def test_cosine_head__under_autocast__computes_in_float32():
    head = cosine_head("semantic", 64, 10, seed=0)
    features = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = head(features.bfloat16())
    assert outputs.dtype == torch.float32
    assert torch.equal(outputs, head(features.bfloat16().float()))


def test_cosine_head__gradient__is_that_of_finite_differences():
    head = cosine_head("semantic", 4, 3, seed=0).double()
    features = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(head, features)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_class_head__kind__is_the_head_of_that_kind(kind):
    head = class_head(kind, "semantic", 6, 4, seed=3)
    other = (linear_head if kind == "linear" else cosine_head)("semantic", 6, 4, seed=3)
    assert type(head) is type(other)
    assert torch.equal(head.weight, other.weight)
    assert (head.in_features, head.out_features) == (6, 4)


def test_place_head__outputs__are_the_linear_answers_of_the_cells_over_the_pixels():
    head = PlaceHead("mask", "fine", 5, 3, seed=0)
    cells = torch.randn(2, 5, 4, 2, generator=torch.Generator().manual_seed(0))
    outputs = head({"coarse": torch.zeros(2, 1, 1, 1), "fine": cells}, (8, 6))
    assert outputs.shape == (2, 3, 8, 6)
    plain = linear_head("mask", 5, 3, seed=0)
    for row, column in ((0, 0), (7, 5), (3, 2)):
        torch.testing.assert_close(outputs[:, :, row, column], plain(cells[:, :, row // 2, column // 3]))
