"""The loss over pixels against double loops, and against the steps of the codes that two of its forms come from."""

import itertools

import pytest
import torch
from torch.nn import functional

from auxo.pretexts.pixels import pixel_contrast_loss

from .pixel_contrast_plain import contrastive_seg_loss, draw_views, loop_loss, zhao_loss

OPTIONS = [
    {"positives": positives, "negatives": negatives, "form": form}
    for positives, negatives, form in itertools.product(
        ("all", "cross_image", "same_image"), ("all", "same_image"), ("contrastive_seg", "supcon", "zhao")
    )
]


def drawn(seed, count=12, dim=4, num_labels=3, num_images=3):
    generator = torch.Generator().manual_seed(seed)
    rows = functional.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)
    labels, images = (torch.randint(high, (count,), generator=generator) for high in (num_labels, num_images))
    return rows, labels, images


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options.values()))
def test_loss__twelve_pixels__is_that_of_a_double_loop(options):
    for seed in range(3):
        given = drawn(seed)
        ours = pixel_contrast_loss(*given, temperature=0.3, **options)
        assert ours.item() == pytest.approx(loop_loss(*given, temperature=0.3, **options), abs=1e-12)


@pytest.mark.parametrize("base", [0.07, None])
def test_loss__of_contrastive_seg__is_that_of_its_own_draw_in_its_own_order(base):
    generator = torch.Generator().manual_seed(0)
    features = functional.normalize(torch.randn(3, 8, 6, 6, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.randint(-1, 3, (3, 6, 6), generator=generator)
    predicted = torch.randint(0, 3, (3, 6, 6), generator=generator)
    views, classes = draw_views(features, labels, predicted, max_samples=40, max_views=5, generator=generator)
    theirs = contrastive_seg_loss(views, classes, temperature=0.1, base_temperature=base or 0.1)
    rows, found = torch.cat(views.unbind(1)), classes.long().repeat(views.shape[1])
    ours = pixel_contrast_loss(rows, found, torch.zeros_like(found), temperature=0.1, base_temperature=base)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)


@pytest.mark.parametrize("is_one_image", [True, False], ids=["within an image", "across two images"])
def test_loss__of_zhao__is_that_of_an_image_or_of_two(is_one_image):
    generator = torch.Generator().manual_seed(0)
    rows = functional.normalize(torch.randn(30, 8, generator=generator, dtype=torch.float64), dim=1)
    labels = torch.randint(-1, 3, (30,), generator=generator)
    images = torch.zeros(30, dtype=torch.int64) if is_one_image else torch.arange(30) // 15
    one = (rows[None], labels[None], images[None])
    theirs = zhao_loss(*one, temperature=0.07, is_ignored=labels[None] < 0)
    known = labels >= 0
    ours = pixel_contrast_loss(
        rows[known], labels[known], images[known], temperature=0.07, negatives="same_image", form="zhao"
    )
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
