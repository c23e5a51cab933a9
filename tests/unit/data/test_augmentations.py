"""Strong augmentation: each operation against Pillow, one draw per image, and equality over processes."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from auxo.data.augmentations import OPERATIONS, apply_drawn, apply_operations, draw_operations, draw_squares
from auxo.data.fake import oriented_shapes
from auxo.data.loader import Loader
from auxo.data.pipeline import InputPipeline
from auxo.errors import ConfigError
from auxo.random import Draws, named_generator
from auxo.types import Batch

SIDE = 32
NAMES = [operation.name for operation in OPERATIONS]
PILLOW = {
    "AutoContrast": lambda image, _: ImageOps.autocontrast(image),
    "Brightness": lambda image, v: ImageEnhance.Brightness(image).enhance(v),
    "Color": lambda image, v: ImageEnhance.Color(image).enhance(v),
    "Contrast": lambda image, v: ImageEnhance.Contrast(image).enhance(v),
    "Equalize": lambda image, _: ImageOps.equalize(image),
    "Identity": lambda image, _: image,
    "Posterize": lambda image, v: ImageOps.posterize(image, int(v)),
    "Rotate": lambda image, v: image.rotate(v),
    "Sharpness": lambda image, v: ImageEnhance.Sharpness(image).enhance(v),
    "ShearX": lambda image, v: image.transform(image.size, Image.Transform.AFFINE, (1, v, 0, 0, 1, 0)),
    "ShearY": lambda image, v: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0, v, 1, 0)),
    "Solarize": lambda image, v: ImageOps.solarize(image, v * 255),
    "TranslateX": lambda image, v: image.transform(image.size, Image.Transform.AFFINE, (1, 0, v * SIDE, 0, 1, 0)),
    "TranslateY": lambda image, v: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, v * SIDE)),
}


def pictures(count, seed=0):
    """Smooth uint8 images that use neither black nor white, of uneven colours."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=SIDE, mode="bicubic")
    return (smooth * torch.tensor([0.8, 0.6, 0.5]).view(3, 1, 1) + 0.1).mul(255).clamp(5, 250).to(torch.uint8)


def make_batch(images):
    indices = torch.arange(len(images))
    return Batch(images=images, targets={"label": torch.zeros_like(indices)}, indices=indices)


def draws(seed=0, **kwargs):
    return Draws(named_generator(seed, "strong"), **kwargs)


@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=NAMES)
def test_operation__images__is_that_of_pillow(number):
    operation = OPERATIONS[number]
    images = pictures(24)
    strength = torch.linspace(0.01, 0.99, 24, dtype=torch.float64)
    ours = apply_operations(images.float() / 255, torch.full((24,), number), strength).mul(255).round()
    values = (operation.low + (operation.high - operation.low) * strength).tolist()
    theirs = torch.stack(
        [
            torch.from_numpy(np.array(PILLOW[operation.name](Image.fromarray(one.permute(1, 2, 0).numpy()), value)))
            for one, value in zip(images, values, strict=True)
        ]
    ).permute(0, 3, 1, 2)
    distance = (ours - theirs.float()).abs()
    # Pillow rounds down where it blends, and a turned pixel may lie on the border of two.
    assert distance.gt(1).float().mean() <= (0.001 if operation.name == "Rotate" else 0)
    if operation.name != "Identity":
        assert (ours - images.float()).abs().max() > 1


@pytest.mark.parametrize("number", range(len(OPERATIONS)), ids=NAMES)
def test_operation__black_white_and_grey__stays_in_range(number):
    images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8), torch.full((3, 8, 8), 0.5)])
    for strength in (0.0, 0.5, 1.0):
        changed = apply_operations(images, torch.full((3,), number), torch.full((3,), strength, dtype=torch.float64))
        assert torch.isfinite(changed).all()
        assert changed.min() >= 0
        assert changed.max() <= 1


def test_auto_contrast__channel_of_one_value__stays():
    images = torch.full((1, 3, 8, 8), 0.25)
    number = NAMES.index("AutoContrast")
    assert torch.equal(apply_operations(images, torch.tensor([number]), torch.zeros(1, dtype=torch.float64)), images)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_posterize__every_value__keeps_the_upper_bits_exactly(device):
    values = torch.arange(256)
    images = (values / 255).view(1, 1, 16, 16).expand(5, 3, -1, -1).to(device)
    number, strength = torch.full((5,), NAMES.index("Posterize")), torch.linspace(0, 1, 5, dtype=torch.float64)
    kept = apply_operations(images, number, strength).cpu()
    for bits, ours in zip(range(4, 9), kept, strict=True):
        expected = (values >> (8 - bits) << (8 - bits)) / 255
        assert torch.equal(ours, expected.view(1, 16, 16).expand(3, -1, -1))


def test_apply_operations__mixed_batch__changes_each_image_by_its_own_choice():
    images = pictures(28).float() / 255
    chosen = torch.arange(28).flip(0) % len(OPERATIONS)
    strength = torch.linspace(0, 1, 28, dtype=torch.float64)
    together = apply_operations(images, chosen, strength)
    one_by_one = [apply_operations(images[i : i + 1], chosen[i : i + 1], strength[i : i + 1]) for i in range(28)]
    assert torch.equal(together, torch.cat(one_by_one))


def test_draw_operations__one_image_many_times__is_changed_by_draws_of_its_own_each_time():
    count = 1400
    images = pictures(1).expand(count, -1, -1, -1).float() / 255
    assert torch.equal(apply_drawn(images, draw_operations(draws(), count, num_operations=0)), images)
    once = apply_drawn(images, draw_operations(draws(), count, num_operations=1))
    chosen = draws().integers(len(OPERATIONS), count)
    assert chosen.bincount(minlength=len(OPERATIONS)).min() > 60
    is_same = (once == images).flatten(1).all(1)
    assert is_same[chosen == NAMES.index("Identity")].all()
    assert not is_same[chosen == NAMES.index("Brightness")].any()
    assert len(apply_drawn(images, draw_operations(draws(), count)).flatten(1).unique(dim=0)) > count / 2


def test_draw_squares__many_images__are_clipped_and_of_up_to_half_the_side():
    count, size = 600, 16
    is_filled = draw_squares(draws(), count, (size, size)).squeeze(1)
    rows, columns = is_filled.any(2).sum(1), is_filled.any(1).sum(1)
    assert torch.equal(is_filled.sum((1, 2)), rows * columns)
    assert int(rows.max()) == int(columns.max()) == size // 2
    assert 0 < int((rows == 0).sum()) < count / 5
    coverage = is_filled.float().mean(0)
    assert coverage.min() > 0
    assert coverage[4:12, 4:12].mean() > 1.5 * coverage[[0, 0, -1, -1], [0, -1, 0, -1]].mean()


@pytest.mark.parametrize("augment", ["none", "crop", "crop_flip"])
def test_strong__base_of_the_run__is_the_runs_augmentation_then_operations_then_a_square(augment):
    source = oriented_shapes(12, size=16, seed=0)
    pipeline = InputPipeline.from_source(source, augment=augment)
    batch = make_batch(source.images)
    plain = pipeline(batch, seed=4)
    drawn = draws(4)
    pixels = plain.normalisation.to_pixels(plain.images).mul(255).round() / 255
    changed = apply_drawn(pixels, draw_operations(drawn, 12))
    expected = torch.where(draw_squares(drawn, 12, (16, 16)), pipeline.mean.view(-1, 1, 1), changed)
    strong = pipeline(batch, seed=4, augment="strong").images
    torch.testing.assert_close(strong, plain.normalisation.to_inputs(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("joined", "num_processes"), [(3, 2), (13, 2), (13, 3)])
def test_strong__parts_of_a_batch__are_augmented_as_the_joined_batch(joined, num_processes):
    source = oriented_shapes(joined, size=16, seed=0)
    pipeline = InputPipeline.from_source(source, augment="crop_flip")
    for step in range(4):
        whole = next(Loader(source, batch_size=joined, seed=1).batches(range(step, step + 1)))
        loaders = [
            Loader(source, batch_size=joined, seed=1, rank=rank, num_processes=num_processes)
            for rank in range(num_processes)
        ]
        parts = [pipeline(next(loader.batches([step])), seed=step, augment="strong").images for loader in loaders]
        assert torch.equal(torch.cat(parts), pipeline(whole, seed=step, augment="strong").images)


def test_strong__seed__decides_the_draws_and_the_global_generator_stays():
    source = oriented_shapes(16, size=16, seed=0)
    pipeline, batch = InputPipeline.from_source(source), make_batch(source.images)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (pipeline(batch, seed=seed, augment="strong").images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)
    assert set(pipeline.state_dict()) == {"mean", "std"}


def test_strong__channels_last__is_kept_with_the_same_numbers():
    source = oriented_shapes(16, size=16, seed=0)
    pipeline = InputPipeline.from_source(source, augment="crop_flip")
    last = source.images.contiguous(memory_format=torch.channels_last)
    images = pipeline(make_batch(last), seed=1, augment="strong").images
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, pipeline(make_batch(source.images), seed=1, augment="strong").images)


def test_forward__named_augmentation__replaces_the_runs_own():
    source = oriented_shapes(16, size=16, seed=0)
    batch = make_batch(source.images)
    ours = InputPipeline.from_source(source, augment="crop_flip")(batch, seed=1, augment="crop").images
    assert torch.equal(ours, InputPipeline.from_source(source, augment="crop")(batch, seed=1).images)
    without = InputPipeline.from_source(source, augment="crop_flip")(batch, seed=1, augment="none").images
    assert torch.equal(without, InputPipeline.from_source(source)(batch, seed=None).images)


def test_checked__unknown_name_or_one_channel__is_refused_in_one_line():
    pipeline = InputPipeline(torch.zeros(1), torch.ones(1), image_shape=(1, 16, 16))
    with pytest.raises(ConfigError, match=r"an augmentation among none, .*, strong, .* got 'stronger'"):
        pipeline.checked("stronger")
    with pytest.raises(ConfigError, match="3 channels for strong augmentation, got 1"):
        pipeline.checked("strong")


@pytest.mark.gpu
def test_strong__on_cuda__augments_as_on_the_cpu():
    source = oriented_shapes(64, size=16, seed=0)
    pipeline, batch = InputPipeline.from_source(source, augment="crop_flip"), make_batch(source.images)
    expected = pipeline(batch, seed=1, augment="strong").images
    on_device = make_batch(source.images.cuda())
    ours = pipeline.cuda()(on_device, seed=1, augment="strong").images.cpu()
    assert ((ours - expected).abs() > 1e-3).float().mean() < 0.002  # a turned pixel may lie on the border of two
