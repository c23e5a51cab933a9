"""Outputs for every pixel of images of any size: windows cover all, are averaged, and answers have the image's size."""

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.errors import AuxoError
from auxo.export.answer_file import encode_answer, encode_overlay
from auxo.export.windows import WindowConfig, WindowPlan, answer_pixels, plan_windows
from auxo.tasks import Answer


def count_columns(pixels):
    """Outputs that say how many columns the network saw, and of what each pixel was."""
    seen = torch.full((len(pixels), 1, *pixels.shape[2:]), float(pixels.shape[3]))
    return torch.cat([seen, pixels[:, :1].float()], 1)


def draw(count, height, width):
    generator = torch.Generator().manual_seed(height)
    return torch.randint(256, (count, 3, height, width), generator=generator, dtype=torch.uint8)


def plan(size, *, trained_size=(16, 16), was_resized=False, takes_any_size=True, **options):
    config = WindowConfig(**options)
    return plan_windows(size, config, trained_size=trained_size, was_resized=was_resized, takes_any_size=takes_any_size)


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (31, 9), (8, 100)])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.9])
def test_answer_pixels__windows__see_every_pixel_where_it_is(size, overlap):
    pixels = draw(2, *size)
    found = answer_pixels(count_columns, pixels, plan(size, window=12, overlap=overlap), batch_size=5)
    assert found.shape == (2, 2, *size)
    assert torch.allclose(found[:, 1], pixels[:, 0].float(), atol=1e-4)
    assert bool((found[:, 0] == min(12, size[1])).all())


def test_answer_pixels__overlap__is_averaged_with_equal_weights():
    numbers = iter(range(100))

    def number_windows(pixels):
        return torch.stack([torch.full((1, *pixels.shape[2:]), float(next(numbers))) for _ in pixels])

    found = answer_pixels(number_windows, draw(1, 8, 20), plan((8, 20), window=8, overlap=0.5), batch_size=3)
    # windows 0 to 3 begin at the columns 0, 4, 8 and 12
    assert found[0, 0, 0].tolist() == [0.0] * 4 + [0.5] * 4 + [1.5] * 4 + [2.5] * 4 + [3.0] * 4


def test_answer_pixels__no_window__shows_whole_images_together():
    calls = []

    def outputs(pixels):
        calls.append(tuple(pixels.shape))
        return count_columns(pixels)

    answer_pixels(outputs, draw(3, 9, 20), plan((9, 20)), batch_size=1)
    assert calls == [(3, 3, 9, 20)]


def test_answer_pixels__network_of_one_size__continues_small_images_and_cuts_large_ones():
    calls = []

    def outputs(pixels):
        calls.append(tuple(pixels.shape[2:]))
        return count_columns(pixels)

    for size in ((10, 12), (16, 40)):
        pixels = draw(1, *size)
        found = answer_pixels(outputs, pixels, plan(size, takes_any_size=False), batch_size=4)
        assert torch.allclose(found[:, 1], pixels[:, 0].float(), atol=1e-4)
    assert set(calls) == {(16, 16)}


@pytest.mark.parametrize(
    ("size", "options", "shown"),
    [
        ((32, 64), {"scale": "model"}, (16, 32)),
        ((32, 64), {"was_resized": True}, (16, 32)),
        ((32, 64), {"was_resized": True, "scale": "own"}, (32, 64)),
        ((32, 64), {}, (32, 64)),
        ((4, 8), {"scale": "model"}, (16, 32)),
    ],
)
def test_plan_windows__scale__covers_the_training_images(size, options, shown):
    made = plan(size, **options)
    assert made.size == shown
    pixels = torch.full((1, 3, *size), 77, dtype=torch.uint8)
    found = answer_pixels(count_columns, pixels, made, batch_size=1)
    assert found.shape == (1, 2, *size)
    assert torch.allclose(found[:, 1], torch.tensor(77.0))
    assert bool((found[:, 0] == shown[1]).all())


def test_plan_windows__window__is_no_larger_than_the_image():
    assert plan((10, 50), window=20) == WindowPlan((10, 50), (10, 20), 0.5)


def test_encode_answer__palette__keeps_numbers_and_has_colours(tmp_path):
    numbers = np.array([[0, 1], [2, 255]], dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(encode_answer(numbers, ((1, 2, 3), (4, 5, 6), (7, 8, 9))))
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), numbers)
        assert np.asarray(image.convert("RGB")).tolist() == [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [255, 255, 255]]]


def test_encode_overlay__answer__is_half_image_half_colour(tmp_path):
    answer = Answer((), np.array([[0, 1]], dtype=np.uint8), ((0, 100, 200), (255, 255, 255)))
    (tmp_path / "a.png").write_bytes(encode_overlay(torch.full((1, 1, 2), 100, dtype=torch.uint8), answer, where="x"))
    with Image.open(tmp_path / "a.png") as image:
        assert np.asarray(image).tolist() == [[[50, 100, 150], [178, 178, 178]]]


def test_encode_overlay__answer_of_another_size__is_refused():
    answer = Answer((), np.zeros((2, 2), dtype=np.uint8))
    with pytest.raises(AuxoError, match="answers of the size of their images for --overlays"):
        encode_overlay(torch.zeros(3, 4, 4, dtype=torch.uint8), answer, where="x")
