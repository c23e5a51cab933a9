"""Generated scenes: what stands in their formula can be read off them."""

import torch

from auxo.data.textures import TEXTURES, Lighting, draw_scenes

PLAIN = Lighting(gains=(1.0, 1.0), class_tint=0.0)
# Wave numbers in cycles per 64 pixels, right and down, worked out from the angular ones: w * 64 / (2 pi).
PEAKS = {"vertical": (16, 0), "horizontal": (0, 16), "rising": (11, 11), "falling": (11, -11), "wide": (6, 2)}


def test_draw_scenes__larger_number__begins_with_the_same() -> None:
    few, many = (draw_scenes(count, seed=3, name="a", side=16) for count in (5, 120))
    assert many.images.shape == (120, 3, 16, 16)
    assert torch.equal(few.images, many.images[:5])
    assert torch.equal(few.masks, many.masks[:5])
    assert len(many.images.flatten(1).unique(dim=0)) == 120


def test_draw_scenes__seed_and_name__decide_everything() -> None:
    first = draw_scenes(3, seed=3, name="a").images
    assert torch.equal(first, draw_scenes(3, seed=3, name="a").images)
    assert not torch.equal(first, draw_scenes(3, seed=4, name="a").images)
    assert not torch.equal(first, draw_scenes(3, seed=3, name="b").images)


def test_draw_scenes__masks__have_up_to_six_classes_equally_often() -> None:
    masks = draw_scenes(400, seed=0, name="a", side=16).masks
    assert masks.dtype == torch.uint8
    assert max(len(mask.unique()) for mask in masks) <= 6
    share = masks.flatten().long().bincount(minlength=6) / masks.numel()
    assert (share - 1 / 6).abs().max() < 0.02


def test_draw_scenes__regions__are_nearest_to_their_point() -> None:
    # Voronoi cells are convex, so what lies between two pixels of one cell is in it; between two of a class it nearly
    # always is, because a class may have several cells.
    masks = draw_scenes(50, seed=0, name="a").masks
    left, right, middle = masks[:, :, 10:14], masks[:, :, 14:18], masks[:, :, 12:16]
    is_same = left == right
    assert ((middle == left)[is_same]).float().mean() > 0.99


def test_draw_scenes__textures__have_the_frequencies_of_their_formula() -> None:
    scenes = draw_scenes(50, seed=1, name="a", lighting=PLAIN)
    grey = scenes.images.float().mean(1)
    for number, name in enumerate(TEXTURES[:5]):
        is_own = scenes.masks == number
        largest = is_own.flatten(1).sum(1).argmax()
        shown = torch.where(is_own[largest], grey[largest] - grey[largest][is_own[largest]].mean(), 0.0)
        down, right = divmod(int(torch.fft.fft2(shown).abs().argmax()), 64)
        found = torch.tensor([(wave + 32) % 64 - 32 for wave in (right, down)])
        expected = torch.tensor(PEAKS[name])
        assert min((found - expected).abs().max(), (found + expected).abs().max()) <= 1, name


def test_draw_scenes__colour__differs_from_image_to_image_and_not_within_a_texture() -> None:
    scenes = draw_scenes(100, seed=0, name="a")
    means = []
    for image, mask in zip(scenes.images.float(), scenes.masks, strict=True):
        if (mask == 0).sum() > 300:
            pixels = image[:, mask == 0]
            halves = pixels[:, : pixels.shape[1] // 2].mean(1), pixels[:, pixels.shape[1] // 2 :].mean(1)
            means.append(torch.stack(halves))
    colours = torch.stack(means)
    within = (colours[:, 0] - colours[:, 1]).std()
    across = colours.mean(1).std(0).mean()
    assert across > 5 * within
    expected = 255 / 7 * (0.3**2 + 0.5**2) ** 0.5
    assert 0.75 * expected < across < 1.25 * expected


def test_draw_scenes__lighting__changes_nothing_but_itself() -> None:
    plain = draw_scenes(20, seed=0, name="a")
    turned, tinted = (
        draw_scenes(20, seed=0, name="a", lighting=each) for each in (Lighting(turn=20), Lighting(class_tint=1.5))
    )
    assert torch.equal(plain.masks, turned.masks)
    assert torch.equal(plain.masks, tinted.masks)
    assert not torch.equal(plain.images, turned.images)
    spread = [scenes.images.float().mean((2, 3)).std() for scenes in (plain, tinted)]
    assert spread[1] > 1.5 * spread[0]


def test_draw_scenes__few_pixels__reach_black_or_white() -> None:
    images = draw_scenes(100, seed=0, name="a").images
    assert ((images == 0) | (images == 255)).float().mean() < 0.01
