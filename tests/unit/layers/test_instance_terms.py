"""What ties generated items to real ones: distances, telling images apart, and what labels say."""

import math

import pytest
import torch

from auxo.layers.instance_terms import anchor_losses, discriminate_losses, measure_distances, measure_labels
from auxo.layers.joint_generator import Generated, TargetBlock

OWN = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])


def keep_rows(rows):
    return rows


def test_distances__known_vectors__relative_to_the_items_length():
    made = OWN + torch.tensor([[0.0, 5.0], [1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(measure_distances(made, OWN), torch.tensor([1.0, 0.5, 0.0]))


def test_distances__cells__over_all_of_an_image_of_which_some_or_all_are_zero():
    own = torch.zeros(2, 1, 3, 2)
    own[0, 0, 0] = torch.tensor([3.0, 4.0])
    made = (own + torch.tensor([0.0, 1.0])).requires_grad_()
    found = measure_distances(made, own)
    torch.testing.assert_close(found, torch.tensor([3**0.5 / 5, 0.0]))
    (slope,) = torch.autograd.grad(anchor_losses(made, own, low=0.9, high=1.0).sum(), made)
    assert torch.isfinite(slope).all()


def test_anchor__too_near_in_range_and_too_far__by_how_much():
    made = OWN + torch.tensor([[0.0, 5.0], [0.6, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(anchor_losses(made, OWN, low=0.2, high=0.8), torch.tensor([0.2, 0.0, 0.2]))


def test_anchor__an_item_on_its_image__finite_slope():
    made = OWN.clone().requires_grad_()
    (slope,) = torch.autograd.grad(anchor_losses(made, OWN, low=0.2, high=0.8).sum(), made)
    assert torch.isfinite(slope).all()


def test_discriminate__copies_of_distinct_images__near_zero_and_one_item_for_all_the_logarithm():
    own = torch.eye(5)
    torch.testing.assert_close(
        discriminate_losses(own, own, gather=keep_rows), torch.full((5,), math.log1p(4 * math.exp(-10)))
    )
    same = torch.ones(5, 5)
    torch.testing.assert_close(discriminate_losses(same, own, gather=keep_rows), torch.full((5,), math.log(5)))


def test_discriminate__a_part_of_the_joined_batch__that_part_of_its_losses():
    draws = torch.Generator().manual_seed(0)
    own, made = torch.randn(6, 4, generator=draws), torch.randn(6, 4, generator=draws)
    whole = discriminate_losses(made, own, gather=keep_rows)
    keys = torch.nn.functional.normalize(own, dim=1)
    part = discriminate_losses(made[2:5], own[2:5], gather=lambda _: keys, first=2)
    torch.testing.assert_close(part, whole[2:5])


def test_discriminate__cells__means_over_an_image():
    draws = torch.Generator().manual_seed(0)
    own, made = torch.randn(4, 2, 3, 5, generator=draws), torch.randn(4, 2, 3, 5, generator=draws)
    torch.testing.assert_close(
        discriminate_losses(made, own, gather=keep_rows),
        discriminate_losses(made.mean((1, 2)), own.mean((1, 2)), gather=keep_rows),
    )


@pytest.mark.parametrize(
    ("targets", "entropy", "information"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 0.0, math.log(2)),
        ([[0.5, 0.5], [0.5, 0.5]], math.log(2), 0.0),
        ([[1.0, 0.0], [1.0, 0.0]], 0.0, 0.0),
    ],
)
def test_labels__sure_uniform_and_all_alike__entropy_and_information(targets, entropy, information):
    made = Generated(torch.zeros(2, 3), torch.tensor(targets), torch.ones(2, 1))
    told = measure_labels(made, [TargetBlock(2, True)], join=keep_rows)
    assert float(told.entropy) == pytest.approx(entropy, abs=1e-6)
    assert float(told.information) == pytest.approx(information, abs=1e-6)


def test_labels__of_which_one_says_nothing__the_others_and_quantities_say_nothing():
    made = Generated(
        torch.zeros(3, 3), torch.tensor([[1.0, 0.0, 7.0], [0.0, 1.0, 8.0], [0.5, 0.5, 9.0]]),
        torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]]),
    )  # fmt: skip
    told = measure_labels(made, [TargetBlock(2, True), TargetBlock(1, False)], join=keep_rows)
    assert float(told.information) == pytest.approx(math.log(2))
    only = made._replace(targets=made.targets[:, 2:], known=made.known[:, 1:])
    assert float(measure_labels(only, [TargetBlock(1, False)], join=keep_rows).information) == 0
