"""The two views of self-supervised learning: crops and colours against other implementations, draws, processes."""

from itertools import pairwise

import pytest
import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_hue,
    adjust_saturation_with_gray_subtraction,
)
from torch.nn import functional

from auxo.data.augmentations import apply_drawn, apply_operations, draw_operations, draw_squares
from auxo.data.fake import oriented_shapes
from auxo.data.pipeline import InputPipeline
from auxo.data.two_views import (
    JITTER,
    SIMCLR_VIEWS,
    SimCLRView,
    _blur_images,
    colour_jitter,
    crop_images,
    draw_crops,
    recolour_view,
)
from auxo.errors import ConfigError
from auxo.random import Draws, named_generator
from auxo.types import Batch

VIEWS = list(SIMCLR_VIEWS)
KORNIA = {
    "Brightness": adjust_brightness_accumulative,
    "Contrast": adjust_contrast_with_mean_subtraction,
    "Color": adjust_saturation_with_gray_subtraction,
    "Hue": lambda images, turns: adjust_hue(images, turns * 2 * torch.pi),
}
# The mean that contrast is taken from is a whole number of 255.
TOLERANCE = {"Contrast": 0.41 * 0.5 / 255}


def noise(count, size, *, channels=3, seed=0):
    """Pixels of no pattern, multiples of 1/255."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, *size), generator=generator).float() / 255


def pictures(count, size):
    """Smooth colourful images in [0, 1]."""
    return functional.interpolate(noise(count, (4, 4)), size=size, mode="bilinear")


def draws(seed=0, **kwargs):
    return Draws(named_generator(seed, "view"), **kwargs)


def make_batch(images, **kwargs):
    indices = torch.arange(len(images))
    return Batch(images=images, targets={"label": torch.zeros_like(indices)}, indices=indices, **kwargs)


def plain(size, augment="none", *, channels=3):
    """A pipeline whose inputs are the pixels in [0, 1]."""
    return InputPipeline(torch.zeros(channels), torch.ones(channels), image_shape=(channels, *size), augment=augment)


def crop(images, drawn, **options):
    """A random part of every image, scaled to its size."""
    return crop_images(images, draw_crops(drawn, len(images), tuple(images.shape[2:]), **options))


def see(images, view, *, flip_prob=0.5):
    """A view of every image."""
    drawn = draws()
    return recolour_view(crop(images, drawn, flip_prob=flip_prob), drawn, view=view)


def parts_of(size, count, **kwargs):
    """Where the parts drawn for images of a size lie, read off images of places: start, length and whether mirrored.

    Cubic interpolation leaves a straight line straight.
    """
    height, width = size
    down, right = (torch.arange(side, dtype=torch.float64) / side for side in size)
    places = torch.stack(torch.broadcast_tensors(down.view(-1, 1), right)).expand(count, -1, -1, -1)
    cropped = crop(places, draws(), **kwargs)
    rows, columns = cropped[:, 0, :, width // 2] * height, cropped[:, 1, height // 2] * width
    is_flipped = columns[:, width // 2] < columns[:, width // 2 - 1]
    columns = torch.where(is_flipped.view(-1, 1), columns.flip(1), columns)

    def measured(line):
        middle, pixels = line.shape[1] // 2, line.shape[1]
        length = (line[:, middle] - line[:, middle - 1]) * pixels
        start = line[:, middle] + 0.5 - (middle + 0.5) * length / pixels
        assert (length - length.round()).abs().max() < 1e-6
        assert (start - start.round()).abs().max() < 1e-6
        return start.round().long().tolist(), length.round().long().tolist()

    return *measured(rows), *measured(columns), is_flipped.tolist()


@pytest.mark.parametrize("size", [(32, 32), (48, 40), (96, 64)])
def test_crop_images__random_parts__are_scaled_as_a_bicubic_resize_of_each(size):
    images = noise(40, size)
    cropped = crop(images, draws(), flip_prob=0.5)
    for image, ours, *part in zip(images, cropped, *parts_of(size, 40, flip_prob=0.5), strict=True):
        top, rows, left, columns, is_flipped = part
        piece = image[None, :, top : top + rows, left : left + columns]
        scaled = functional.interpolate(piece, size=size, mode="bicubic", antialias=True).clamp(0, 1)[0]
        torch.testing.assert_close(ours, scaled.flip(-1) if is_flipped else scaled, rtol=0, atol=1e-5)


def test_draw_crops__many_images__draws_area_aspect_place_and_flip_over_their_ranges():
    size, count = 32, 2000
    top, rows, left, columns, is_flipped = parts_of((size, size), count, flip_prob=0.3)
    starts, lengths = torch.tensor([top, left]), torch.tensor([rows, columns])
    assert starts.min() == 0
    assert (starts + lengths).max() == size
    areas, aspects = lengths.prod(0) / size**2, lengths[1] / lengths[0]
    assert 0.075 < areas.min() < 0.1
    assert areas.max() > 0.98
    # Whole pixels go a little beyond 3/4 and 4/3.
    assert 0.68 < aspects.min() < 0.77
    assert 1.3 < aspects.max() < 1.47
    assert abs(float(aspects.log().mean())) < 0.02
    # Parts of up to half the area always fit.
    assert abs(float(areas[areas < 0.5].mean()) - 0.29) < 0.015
    assert abs(float((areas[areas < 0.5] < 0.29).float().mean()) - 0.5) < 0.06
    assert abs(sum(is_flipped) / count - 0.3) < 0.035
    middles = (starts + lengths / 2).mean(1) / size
    assert (middles - 0.5).abs().max() < 0.02


def test_draw_crops__options__change_ranges_and_nothing_else():
    *_, columns, _ = parts_of((32, 32), 50, flip_prob=0.0, area=(0.25, 0.25), aspect=(1.0, 1.0))
    assert set(columns) == {16}
    _, rows, _, columns, _ = parts_of((32, 32), 400, flip_prob=0.0, aspect=(0.5, 1.0))
    aspects = torch.tensor(columns) / torch.tensor(rows)
    assert aspects.max() <= 1.07
    assert aspects.min() < 0.55
    images = noise(30, (16, 16))
    without, always = (crop(images, draws(), flip_prob=prob) for prob in (0.0, 1.0))
    assert torch.equal(always, without.flip(-1))


def test_draw_crops__long_image__takes_as_much_as_the_aspect_ratio_allows():
    _, rows, left, columns, _ = parts_of((9, 200), 60, flip_prob=0.0)
    assert set(rows) == {9}
    assert set(columns) == {12}
    assert len(set(left)) > 20
    _, rows, _, columns, _ = parts_of((200, 9), 60, flip_prob=0.0)
    assert set(rows) == {12}
    assert set(columns) == {9}


def test_draw_crops__whole_image__is_the_image():
    images = noise(5, (16, 16))
    assert torch.equal(crop(images, draws(), flip_prob=0.0, area=(1.0, 1.0), aspect=(1.0, 1.0)), images)


@pytest.mark.parametrize("number", range(len(JITTER)), ids=[operation.name for operation in JITTER])
def test_jitter__each_operation__is_that_of_kornia(number):
    operation = JITTER[number]
    images = torch.cat(
        [noise(10, (12, 12)), pictures(10, (12, 12)), torch.zeros(1, 3, 12, 12), torch.ones(1, 3, 12, 12)]
    )
    strength = torch.linspace(0, 1, len(images), dtype=torch.float64)
    ours = apply_operations(images, torch.full((len(images),), number), strength, operations=JITTER)
    magnitudes = operation.low + (operation.high - operation.low) * strength
    theirs = KORNIA[operation.name](images, magnitudes.float())
    torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE.get(operation.name, 2e-6))
    assert (ours - images).abs().max() > 0.1


def test_hue__whole_turns_and_grey_images__stay():
    hue = JITTER[-1].apply
    images = noise(6, (8, 8))
    for turns in (-1.0, 0.0, 1.0):
        torch.testing.assert_close(hue(images, torch.full((6,), turns)), images, rtol=0, atol=2e-6)
    grey = images[:, :1].expand(-1, 3, -1, -1)
    assert torch.equal(hue(grey, torch.full((6,), 0.3)), grey)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(hue(red, torch.tensor([1 / 3])), red.roll(1, 1), rtol=0, atol=1e-6)


def test_colour_jitter__every_image__has_an_order_and_strengths_of_its_own():
    count = 48
    images = pictures(1, (10, 10)).expand(count, -1, -1, -1)
    ours = colour_jitter(images, draws(), prob=1.0)
    again = draws()
    again.uniform(count)
    orders, strengths = again.uniform(count, (4,)).argsort(1).tolist(), again.uniform(count, (4,)).tolist()
    assert len(set(map(tuple, orders))) > 15
    for image, jittered, order, strength in zip(images, ours, orders, strengths, strict=True):
        expected = image[None]
        for number in order:
            low, high = JITTER[number].low, JITTER[number].high
            magnitude = torch.tensor([low + (high - low) * strength[number]])
            expected = KORNIA[JITTER[number].name](expected, magnitude)
        torch.testing.assert_close(jittered, expected[0], rtol=0, atol=2e-3)


def test_colour_jitter__probability__is_the_part_of_changed_images():
    images = pictures(1, (8, 8)).expand(2000, -1, -1, -1)
    jittered = colour_jitter(images, draws(), prob=0.8)
    is_changed = (jittered != images).flatten(1).any(1)
    assert abs(float(is_changed.float().mean()) - 0.8) < 0.027
    assert len(jittered[is_changed].flatten(1).unique(dim=0)) == int(is_changed.sum())
    assert torch.equal(colour_jitter(images[:5], draws(), prob=0.0), images[:5])


@pytest.mark.parametrize("view", VIEWS)
def test_recolour_view__many_images__makes_a_fifth_grey(view):
    images = pictures(2000, (8, 8))
    seen = see(images, SIMCLR_VIEWS[view])
    is_grey = (seen == seen[:, :1]).flatten(1).all(1)
    assert abs(float(is_grey.float().mean()) - 0.2) < 0.027


@pytest.mark.parametrize(("view", "part"), [("simclr", 0.0), ("simclr_second", 0.2)])
def test_recolour_view__bright_images__are_solarised_with_the_views_probability(view, part):
    images = 0.9 + 0.05 * pictures(2000, (8, 8))
    seen = see(images, SIMCLR_VIEWS[view])
    is_dark = seen.mean((1, 2, 3)) < 0.5
    assert abs(float(is_dark.float().mean()) - part) < 0.027
    assert (seen[is_dark] <= 0.5).all()
    assert (seen[~is_dark] >= 0.5).all()


def test_recolour_view__large_images__are_blurred_with_the_views_probability():
    images = noise(200, (64, 65))
    sharp, some, all_of_them = (see(images, SimCLRView(prob, 0.0)) for prob in (0.0, 0.1, 1.0))
    is_blurred = (some != sharp).flatten(1).any(1)
    assert abs(float(is_blurred.float().mean()) - 0.1) < 0.05
    assert torch.equal(some[is_blurred], all_of_them[is_blurred])
    # A deviation below about 0.2 pixels does nothing.
    assert 0.9 < float((all_of_them != sharp).flatten(1).any(1).float().mean()) < 1
    contrasts = all_of_them.std((1, 2, 3)) / sharp.std((1, 2, 3))
    assert contrasts.max() <= 1 + 1e-6
    assert contrasts.min() < 0.7


@pytest.mark.parametrize(("side", "taps"), [(64, 7), (99, 9), (100, 11), (224, 23)])
def test_recolour_view__blur__has_a_kernel_of_about_a_tenth_of_the_side(side, taps):
    point = torch.zeros(1, 3, side, side)
    point[:, :, side // 2, side // 2] = 1
    blurred = _blur_images(point, torch.tensor([2.0]))[0, 0]
    is_touched = blurred > 0
    assert int(is_touched.any(0).sum()) == int(is_touched.any(1).sum()) == taps
    kernel = torch.exp(-(torch.arange(taps) - taps // 2).square() / 8)
    window = slice(side // 2 - taps // 2, side // 2 + taps // 2 + 1)
    torch.testing.assert_close(blurred[window, window], torch.outer(kernel, kernel) / kernel.sum() ** 2)


def test_recolour_view__small_images__are_never_blurred():
    images = noise(20, (63, 80))
    sharp, blurred = (see(images, SimCLRView(p, 0.0)) for p in (0.0, 1.0))
    assert torch.equal(sharp, blurred)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("view", VIEWS)
def test_recolour_view__other_than_three_channels__leaves_the_colours_out(channels, view):
    images = noise(20, (16, 16), channels=channels)
    seen = see(images, SIMCLR_VIEWS[view], flip_prob=0.0)
    cropped = crop(images, draws(), flip_prob=0.0)
    is_inverted = (seen != cropped).flatten(1).any(1)
    assert torch.equal(seen[is_inverted], torch.where(cropped < 0.5, cropped, 1 - cropped)[is_inverted])
    assert bool(is_inverted.any()) == (view == "simclr_second")
    uint8 = (images * 255).round().to(torch.uint8)
    assert plain((16, 16), channels=channels)(make_batch(uint8), seed=1, augment=view).images.shape == images.shape


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("name", ["crop_resize", "crop_resize_flip", "retint", *VIEWS])
def test_forward__parts_of_a_batch__are_augmented_as_the_joined_batch(name, side):
    images = (noise(13, (side, side)) * 255).round().to(torch.uint8)
    pipeline = plain((side, side), "crop_flip")
    for seed in range(3):
        whole = pipeline(make_batch(images), seed=seed, augment=name).images
        for cuts in ((0, 7, 13), (0, 5, 9, 13), (0, 1, 13)):
            parts = [
                pipeline(make_batch(images[a:b], first=a, total=13, num_processes=2), seed=seed, augment=name).images
                for a, b in pairwise(cuts)
            ]
            assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("name", ["crop_resize", *VIEWS])
def test_forward__values__are_pixels_from_0_to_1(name):
    images = noise(64, (64, 64)).round().mul(255).to(torch.uint8)
    seen = plain((64, 64), "crop_flip")(make_batch(images), seed=2, augment=name).images
    assert seen.dtype == torch.float32
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert torch.isfinite(seen).all()


@pytest.mark.parametrize("name", ["crop_resize", *VIEWS])
def test_forward__seed__decides_the_draws_and_the_global_generator_stays(name):
    batch = make_batch(oriented_shapes(16, size=16, seed=0).images)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (plain((16, 16))(batch, seed=seed, augment=name).images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert ((first - other).abs().amax((1, 2, 3)) > 0.01).all()
    assert torch.equal(torch.get_rng_state(), before)


def test_forward__two_views__differ_under_one_seed():
    batch = make_batch(oriented_shapes(16, size=16, seed=0).images)
    first, second = (plain((16, 16))(batch, seed=1, augment=view).images for view in VIEWS)
    assert ((first - second).abs().amax((1, 2, 3)) > 0.01).all()


@pytest.mark.parametrize("augment", ["none", "crop", "crop_resize", "crop_flip", "crop_resize_flip"])
@pytest.mark.parametrize("name", ["crop_resize", *VIEWS])
def test_forward__views__flip_where_the_runs_own_augmentation_does(name, augment):
    batch = make_batch((pictures(200, (16, 16)) * 255).round().to(torch.uint8))
    unflipped = plain((16, 16), "none")(batch, seed=1, augment=name).images
    ours = plain((16, 16), augment)(batch, seed=1, augment=name).images
    is_mirrored = (ours - unflipped.flip(-1)).abs().amax((1, 2, 3)) < 1e-3
    is_same = (ours - unflipped).abs().amax((1, 2, 3)) < 1e-3
    assert (is_same ^ is_mirrored).all()
    if augment.endswith("_flip"):
        assert abs(float(is_mirrored.float().mean()) - 0.5) < 0.12
    else:
        assert is_same.all()


def test_forward__crop_resize_of_the_run__is_that_of_the_view():
    batch = make_batch(oriented_shapes(30, size=16, seed=0).images)
    for own, augment in (("crop_resize", "none"), ("crop_resize_flip", "crop_flip")):
        ours = plain((16, 16), own)(batch, seed=1).images
        assert torch.equal(ours, plain((16, 16), augment)(batch, seed=1, augment="crop_resize").images)
        assert torch.equal(ours, plain((16, 16), "none")(batch, seed=1, augment=own).images)
    assert torch.equal(plain((16, 16), "crop_resize")(batch, seed=None).images, batch.images / 255)


def test_strong__after_a_resized_crop__is_the_crop_then_operations_then_a_square():
    batch = make_batch(oriented_shapes(30, size=16, seed=0).images)
    pipeline = plain((16, 16), "crop_resize_flip")
    drawn = Draws(named_generator(1, "strong"))
    changed = apply_drawn(pipeline(batch, seed=1).images, draw_operations(drawn, 30))
    expected = torch.where(draw_squares(drawn, 30, (16, 16)), pipeline.mean.view(-1, 1, 1), changed)
    assert torch.equal(pipeline(batch, seed=1, augment="strong").images, expected)


@pytest.mark.parametrize("name", ["crop_resize", "retint", *VIEWS])
def test_forward__channels_last__is_kept_with_the_same_numbers(name):
    images = oriented_shapes(16, size=64, seed=0).images
    last = images.contiguous(memory_format=torch.channels_last)
    seen = plain((64, 64), "crop_flip")(make_batch(last), seed=1, augment=name).images
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(seen, plain((64, 64), "crop_flip")(make_batch(images), seed=1, augment=name).images)


def test_checked__names__are_those_of_the_run_and_of_views():
    pipeline = plain((16, 16), "crop_resize")
    assert pipeline.checked(None) == "crop_resize"
    assert [pipeline.checked(view) for view in VIEWS] == VIEWS
    names = "none, crop, crop_flip, crop_resize, crop_resize_flip, strong, retint, simclr, simclr_second"
    with pytest.raises(ConfigError, match=f"an augmentation among {names}, got 'simclr_third'"):
        pipeline.checked("simclr_third")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["crop_resize", *VIEWS])
def test_forward__on_cuda__augments_as_on_the_cpu(name):
    images = oriented_shapes(64, size=64, seed=0).images
    pipeline = plain((64, 64), "crop_flip")
    expected = pipeline(make_batch(images), seed=1, augment=name).images
    ours = pipeline.cuda()(make_batch(images.cuda()), seed=1, augment=name).images.cpu()
    # A pixel next to a half may be solarised on one device only, a mean next to a half be rounded the other way.
    assert ((ours - expected).abs() > 5e-3).float().mean() < 0.002
