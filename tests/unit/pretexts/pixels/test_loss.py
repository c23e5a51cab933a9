"""The loss over sampled pixels: limits, invariances, gradients."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from auxo.pretexts.pixels import Keys, pair_masks, pixel_contrast_loss

FORMS = ("contrastive_seg", "supcon", "zhao")


def unit(rows):
    return functional.normalize(rows, dim=1)


def drawn(count=12, dim=4, num_labels=3, num_images=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = unit(torch.randn(count, dim, generator=generator, dtype=torch.float64))
    labels, images = (torch.randint(high, (count,), generator=generator) for high in (num_labels, num_images))
    return rows, labels, images


@pytest.mark.parametrize("form", FORMS)
def test_loss__order_rotation_and_names_of_labels__do_not_matter(form):
    rows, labels, images = drawn()
    loss = pixel_contrast_loss(rows, labels, images, form=form)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    for given in (
        (rows[order], labels[order], images[order]),
        (rows @ turn, labels, images),
        (rows, 7 - labels, images),
    ):
        torch.testing.assert_close(pixel_contrast_loss(*given, form=form), loss, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_gradient__of_every_choice_of_pairs__is_that_of_finite_differences_twice(form):
    rows, labels, images = drawn(8, dim=3)
    for positives, negatives in itertools.product(("all", "cross_image", "same_image"), ("all", "same_image")):

        def loss(values, positives=positives, negatives=negatives):
            return pixel_contrast_loss(
                unit(values), labels, images, temperature=0.5, positives=positives, negatives=negatives, form=form
            )

        assert torch.autograd.gradcheck(loss, rows.clone().requires_grad_(), fast_mode=True)
        assert torch.autograd.gradgradcheck(loss, rows.clone().requires_grad_(), fast_mode=True)


def test_gradient__of_a_positive__is_the_share_that_it_lacks():
    rows, labels, images = drawn()
    rows.requires_grad_()
    count, masks = 12, pair_masks(labels, images)
    scores = (rows @ rows.T / 0.1).detach()
    rest = (scores.exp() * masks.negatives).sum(1, keepdim=True)
    ratios = scores.exp() / (scores.exp() + rest)
    weights = masks.positives.double() / masks.positives.sum(1, keepdim=True)
    by_score = -(weights * (1 - ratios)) / count
    by_score += (weights * (1 - ratios)).sum(1, keepdim=True) * masks.negatives * scores.exp() / rest / count
    expected = (by_score + by_score.T) @ rows.detach() / 0.1
    (found,) = torch.autograd.grad(pixel_contrast_loss(rows, labels, images), rows)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


ONE_LABEL, ALL_UNIQUE = [0] * 6, [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("temperature", [0.1, 1e-3])
@pytest.mark.parametrize(
    ("form", "labels"),
    [*itertools.product(FORMS, (ONE_LABEL, [])), ("contrastive_seg", ALL_UNIQUE), ("supcon", ALL_UNIQUE)],
)
def test_loss__nothing_to_compare__is_zero_with_a_gradient_of_zero(form, labels, temperature):
    rows = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = torch.tensor(labels, dtype=torch.int64)
    loss = pixel_contrast_loss(unit(rows), found, found, form=form, temperature=temperature)
    (gradient,) = torch.autograd.grad(loss, rows)
    assert loss.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_loss__anchors_without_positives__are_left_out_of_the_mean_and_stay_negatives():
    rows, labels, images = unit(torch.eye(3)[[0, 0, 1]]), torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.int64)
    loss = pixel_contrast_loss(rows, labels, images, temperature=1.0)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)))


def test_loss__labels_apart_and_cold__is_near_zero():
    labels = torch.arange(12) % 3
    assert pixel_contrast_loss(torch.eye(3)[labels], labels, labels, temperature=0.01).item() < 1e-12


def test_loss__all_rows_alike__is_the_mean_logarithm_of_negatives_and_one():
    labels = torch.tensor([0, 0, 0, 1, 1])
    loss = pixel_contrast_loss(torch.ones(5, 1), labels, labels)
    assert loss.item() == pytest.approx((3 * math.log(3) + 2 * math.log(4)) / 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_loss__half_precision_and_cold__is_computed_in_float32(dtype):
    rows, labels, images = drawn()
    loss = pixel_contrast_loss(rows.to(dtype), labels, images, temperature=0.005)
    expected = pixel_contrast_loss(rows.to(dtype).double(), labels, images, temperature=0.005)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_pair_masks__every_choice__holds_the_pairs_that_it_names():
    _, labels, images = drawn(30)
    near, same = images[:, None] == images, labels[:, None] == labels
    off = ~torch.eye(30, dtype=torch.bool)
    every = pair_masks(labels, images)
    assert torch.equal(every.positives, same & off)
    assert torch.equal(every.negatives, ~same)
    assert torch.equal(pair_masks(labels, images, positives="cross_image").positives, same & ~near)
    assert torch.equal(pair_masks(labels, images, positives="same_image").positives, same & near & off)
    assert torch.equal(pair_masks(labels, images, negatives="same_image").negatives, ~same & near)


def test_loss__keys__are_positives_and_negatives_but_no_anchors():
    rows, labels, images = drawn(16)
    whole = pair_masks(labels, images)
    keys = Keys(rows[10:], labels[10:], images[10:])
    masks = pair_masks(labels[:10], images[:10], keys=keys)
    assert torch.equal(masks.positives, whole.positives[:10])
    assert torch.equal(masks.negatives, whole.negatives[:10])
    own = rows[:10].clone().requires_grad_()
    loss = pixel_contrast_loss(own, labels[:10], images[:10], keys=keys)
    scores = (rows @ rows.T / 0.1)[:10]
    rest = (scores.exp() * masks.negatives).sum(1, keepdim=True)
    terms = -(scores.exp() / (scores.exp() + rest)).log()
    expected = ((terms * masks.positives).sum(1) / masks.positives.sum(1)).mean()
    assert loss.item() == pytest.approx(expected.item())
    assert torch.autograd.grad(loss, own)[0].abs().sum() > 0
