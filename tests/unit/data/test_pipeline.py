from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.loader import Loader
from auxo.data.pipeline import InputPipeline
from auxo.data.readers import read_streaming
from auxo.data.sources import InMemorySource
from auxo.data.two_views import SIMCLR_VIEWS, crop_images, draw_crops, recolour_view
from auxo.errors import DataError
from auxo.random import Draws, named_generator
from auxo.types import Batch, Column


def make_batch(images: torch.Tensor) -> Batch:
    indices = torch.arange(len(images))
    return Batch(images=images, targets={"label": torch.zeros_like(indices)}, indices=indices)


def plain(size: tuple[int, int], augment: str) -> InputPipeline:
    """A pipeline that normalises by mean 0 and standard deviation 1."""
    return InputPipeline(torch.zeros(3), torch.ones(3), image_shape=(3, *size), augment=augment)


def test_from_source__in_memory__uses_exact_statistics_of_all_images(shapes: InMemorySource) -> None:
    pipeline = InputPipeline.from_source(shapes)
    pixels = shapes.images.double().div(255).transpose(0, 1).flatten(1)
    assert torch.allclose(pipeline.mean.double(), pixels.mean(1), rtol=0, atol=1e-7)
    assert torch.allclose(pipeline.std.double(), pixels.std(1, unbiased=False), rtol=0, atol=1e-7)
    assert set(pipeline.state_dict()) == {"mean", "std"}


def test_from_source__streaming__equals_in_memory(
    tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path]
) -> None:
    streaming = read_streaming(str(write_parquet(shapes, tmp_path / "set.parquet")), DataConfig())
    ours, theirs = InputPipeline.from_source(streaming), InputPipeline.from_source(shapes)
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.std, theirs.std)


def test_from_source__many_streamed_images__looks_at_2000_evenly_spaced(
    tmp_path: Path, png: Callable[..., bytes], write_csv: Callable[..., Path]
) -> None:
    (tmp_path / "good.png").write_bytes(png())
    (tmp_path / "bad.png").write_bytes(png()[:40])
    rows = [["good.png", str(i % 2)] for i in range(4001)]
    rows[1][0] = "bad.png"
    path = write_csv([["path", "label"], *rows], tmp_path / "set.csv")
    pipeline = InputPipeline.from_source(read_streaming(str(path), DataConfig()))
    assert (pipeline.std > 0).all()


def test_from_source__blank_channel__is_refused() -> None:
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    images[:, 1] = 51
    source = InMemorySource("blank", images, {"label": Column(torch.tensor([0, 1, 0, 1]), ("a", "b"))})
    with pytest.raises(DataError, match="only the value 51 in channel 1 of 'blank'"):
        InputPipeline.from_source(source)


def test_forward__without_augmentation__has_mean_0_and_std_1(shapes: InMemorySource) -> None:
    batch = make_batch(shapes.images)
    images = InputPipeline.from_source(shapes)(batch, seed=7).images
    assert images.dtype == torch.float32
    assert images.mean((0, 2, 3)).abs().max() < 1e-5
    assert (images.std((0, 2, 3), unbiased=False) - 1).abs().max() < 1e-5
    assert batch.images.dtype == torch.uint8


def test_forward__one_pixel__is_scaled_by_hand() -> None:
    pipeline = InputPipeline(
        torch.tensor([0.2, 0.4, 0.6]), torch.tensor([0.5, 0.25, 0.1]), image_shape=(3, 8, 8), augment="none"
    )
    images = torch.full((1, 3, 8, 8), 51, dtype=torch.uint8)
    expected = torch.tensor([0.0, -0.8, -4.0])
    assert torch.allclose(pipeline(make_batch(images), seed=None).images[0, :, 3, 3], expected, atol=1e-6)


def test_forward__no_seed__leaves_the_augmentation_out(shapes: InMemorySource) -> None:
    batch = make_batch(shapes.images)
    augmenting = InputPipeline.from_source(shapes, augment="crop_flip")
    assert torch.equal(augmenting(batch, seed=None).images, InputPipeline.from_source(shapes)(batch, seed=1).images)


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (28, 28), (32, 32), (33, 47)])
@pytest.mark.parametrize("augment", ["crop", "crop_flip"])
def test_forward__crop__is_an_integer_shift_of_the_padded_image(size: tuple[int, int], augment: str) -> None:
    images = torch.randint(1, 256, (24, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    augmented = plain(size, augment)(make_batch(images), seed=3).images
    pad = min(size) // 8
    padded = torch.nn.functional.pad(images.float() / 255, (pad, pad, pad, pad))
    windows = padded.unfold(2, size[0], 1).unfold(3, size[1], 1)
    matches = (windows == augmented[:, :, None, None]).all(dim=(1, 4, 5))
    flipped = (windows == augmented.flip(-1)[:, :, None, None]).all(dim=(1, 4, 5))
    assert windows.shape[2:4] == (2 * pad + 1, 2 * pad + 1)
    assert ((matches | flipped).sum((1, 2)) == 1).all()
    if augment == "crop":
        assert not flipped.any()
    else:
        assert 5 <= int(flipped.any(2).any(1).sum()) <= 19


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (224, 224), (250, 227)])
def test_forward__crop_of_large_images__is_exact_to_the_pixel(size: tuple[int, int]) -> None:
    height, width = size
    down, right = torch.arange(height).view(-1, 1), torch.arange(width)
    image = torch.stack(torch.broadcast_tensors(right + 1, down + 1, torch.tensor(255))).to(torch.uint8)
    augmented = plain(size, "crop")(make_batch(image.expand(8, -1, -1, -1)), seed=0).images.mul(255).round().long()
    shift = augmented[:, :2, height // 2, width // 2] - image[:2, height // 2, width // 2].long()
    source_right, source_down = right + shift[:, 0].view(-1, 1, 1), down + shift[:, 1].view(-1, 1, 1)
    is_inside = (source_right >= 0) & (source_right < width) & (source_down >= 0) & (source_down < height)
    assert torch.equal(augmented[:, 0], torch.where(is_inside, source_right + 1, 0))
    assert torch.equal(augmented[:, 1], torch.where(is_inside, source_down + 1, 0))
    assert shift.abs().max() <= min(size) // 8
    assert len(shift.unique()) > 4


def test_forward__crop__reaches_every_shift_equally_often() -> None:
    images = torch.randint(1, 256, (1, 3, 16, 16), dtype=torch.uint8).expand(2500, -1, -1, -1)
    augmented = plain((16, 16), "crop")(make_batch(images), seed=0).images
    padded = torch.nn.functional.pad(images[:1].float() / 255, (2, 2, 2, 2))
    windows = padded.unfold(2, 16, 1).unfold(3, 16, 1).permute(2, 3, 0, 1, 4, 5).reshape(25, 1, 3, 16, 16)
    counts = (windows == augmented).all(dim=(2, 3, 4)).sum(1)
    assert counts.sum() == 2500
    assert counts.min() > 60
    assert counts.max() < 140


@pytest.mark.parametrize(("joined", "num_processes"), [(2, 2), (3, 2), (4, 2), (13, 2), (3, 3), (4, 3), (13, 3)])
def test_forward__parts_of_a_batch__are_augmented_as_the_joined_batch(joined: int, num_processes: int) -> None:
    source = oriented_shapes(joined, size=16, seed=0)
    pipeline = InputPipeline.from_source(source, augment="crop_flip")
    for step in range(4):
        whole = next(Loader(source, batch_size=joined, seed=1).batches(range(step, step + 1)))
        loaders = [
            Loader(source, batch_size=joined, seed=1, rank=rank, num_processes=num_processes)
            for rank in range(num_processes)
        ]
        parts = [pipeline(next(loader.batches(range(step, step + 1))), seed=step).images for loader in loaders]
        assert torch.equal(torch.cat(parts), pipeline(whole, seed=step).images)


def test_forward__seed__decides_the_draws(shapes: InMemorySource) -> None:
    batch = make_batch(shapes.images)
    pipeline = InputPipeline.from_source(shapes, augment="crop_flip")
    first, again, other = (pipeline(batch, seed=seed).images for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_forward__augmentation__leaves_the_global_generator_alone(shapes: InMemorySource) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    InputPipeline.from_source(shapes, augment="crop_flip")(make_batch(shapes.images), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_forward__channels_last__is_kept(shapes: InMemorySource, augment: str) -> None:
    pipeline = InputPipeline.from_source(shapes, augment=augment)
    batch = make_batch(shapes.images)
    last = replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))
    images = pipeline(last, seed=1).images
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, pipeline(batch, seed=1).images)


@pytest.mark.gpu
def test_forward__on_cuda__augments_as_on_the_cpu(shapes: InMemorySource) -> None:
    pipeline = plain((16, 16), "crop_flip")
    batch = make_batch(shapes.images)
    expected = pipeline(batch, seed=1).images
    on_device = replace(batch, images=batch.images.cuda())
    assert torch.equal(pipeline.cuda()(on_device, seed=1).images.cpu(), expected)


@pytest.mark.parametrize("augment", ["crop_resize", *SIMCLR_VIEWS])
def test_forward__crop_aspect__is_that_of_every_part(augment: str) -> None:
    batch, narrow = make_batch(oriented_shapes(40, size=16, seed=0).images), (0.5, 1.0)
    pipeline = InputPipeline(torch.zeros(3), torch.ones(3), image_shape=(3, 16, 16), crop_aspect=narrow)
    draws = Draws(named_generator(3, augment))
    crops = draw_crops(draws, 40, (16, 16), flip_prob=0.0, aspect=narrow)
    assert (crops.sizes[:, 1] <= crops.sizes[:, 0]).all()
    expected = crop_images(batch.images / 255, crops)
    if augment in SIMCLR_VIEWS:
        expected = recolour_view(expected, draws, view=SIMCLR_VIEWS[augment])
    assert torch.equal(pipeline(batch, seed=3, augment=augment).images, expected)
    assert not torch.equal(plain((16, 16), "none")(batch, seed=3, augment=augment).images, expected)
