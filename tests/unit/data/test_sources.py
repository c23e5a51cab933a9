import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.decode import AbstractEncodedImages
from auxo.data.loader import in_memory
from auxo.data.readers import read_streaming
from auxo.data.sources import InMemorySource, pixel_hashes
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.types import Column

NAMES = ("cat", "dog")


class Encoded(AbstractEncodedImages):
    def __init__(self, contents: Sequence[bytes]) -> None:
        self.contents = contents

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, row: int) -> bytes:
        return self.contents[row]

    def describe(self, row: int) -> str:
        return f"item {row}"


def test_from_arrays__uint8__keeps_the_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 9), dtype=np.uint8)
    source = InMemorySource.from_arrays("mine", images, {"label": np.array([0, 1, 1, 0])}, {"label": NAMES})
    assert source.image_shape == (3, 8, 9)
    assert torch.equal(source.images, torch.from_numpy(images))
    assert source.columns["label"].values.tolist() == [0, 1, 1, 0]
    assert source.columns["label"].values.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_from_arrays__float__rounds_to_256_levels(dtype: torch.dtype) -> None:
    levels = torch.arange(256, dtype=torch.float64) / 255
    images = levels.view(2, 1, 8, 16).expand(-1, 3, -1, -1).to(dtype)
    source = InMemorySource.from_arrays("mine", images, {"label": [0, 1]}, {"label": NAMES})
    assert torch.equal(source.images[:, 0].flatten(), torch.arange(256, dtype=torch.uint8))


def test_from_arrays__read_only_or_reversed_array__is_taken() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    images.flags.writeable = False
    for array in (images, images[..., ::-1]):
        source = InMemorySource.from_arrays("mine", array, {"label": [0, 1]}, {"label": NAMES})
        assert torch.equal(source.images, torch.from_numpy(array.copy()))


def test_from_arrays__grey__is_repeated_over_three_channels() -> None:
    images = torch.randint(256, (2, 8, 8), dtype=torch.uint8)
    source = InMemorySource.from_arrays("mine", images, {"label": torch.tensor([0, 1])}, {"label": NAMES})
    assert torch.equal(source.images, images.unsqueeze(1).repeat(1, 3, 1, 1))


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [0, 1, 1], NAMES, "3 values of 'label' for 2 images in 'mine'"),
        (
            torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
            [0, 2],
            NAMES,
            "values of 'label' in 0..1, got 2 at image 1 of 'mine'",
        ),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [-1, 1], NAMES, "got -1 at image 0 of 'mine'"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [0, 0], ("cat",), "at least two different names of 'label'"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), [0, 1], ("cat", "cat"), "at least two different names of 'label'"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.rand(2), NAMES, "integers 'label' of shape"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 1).long(), NAMES, "integers 'label' of shape"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), np.array(["cat", "dog"]), NAMES, "arrays of numbers"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int32), [0, 1], NAMES, "uint8 or float images, got torch.int32"),
        (torch.zeros(2, 3, 8, 8) - 0.5, [0, 1], NAMES, r"in \[0, 1\], got -0.5 in image 0 of 'mine'"),
        (torch.zeros(2, 3, 8, 8) + 255, [0, 1], NAMES, r"in \[0, 1\], got 255 in image 0 of 'mine'"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), [0, 1], NAMES, "channels before height and width"),
        (torch.zeros(2, 3, 7, 8, dtype=torch.uint8), [0, 1], NAMES, "at least 8x8 pixels"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), [], NAMES, "images of shape"),
        (torch.zeros(64, dtype=torch.uint8), [0, 1], NAMES, "images of shape"),
    ],
)
def test_from_arrays__unusable__says_what_is_wrong(
    images: torch.Tensor, labels: object, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        InMemorySource.from_arrays("mine", images, {"label": labels}, {"label": names})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_from_arrays__pixel_not_finite__names_the_image(value: float) -> None:
    images = torch.zeros(5, 3, 8, 8)
    images[3, 1, 2, 2] = value
    with pytest.raises(DataError, match=rf"finite pixels, got {value:g} in image 3 of 'mine'"):
        InMemorySource.from_arrays("mine", images, {"label": [0, 1, 0, 1, 0]}, {"label": NAMES})


def test_in_memory__fetch__gives_images_in_the_order_asked(shapes: InMemorySource) -> None:
    assert torch.equal(shapes.fetch(torch.tensor([5, 0, 5])), shapes.images[[5, 0, 5]])
    assert shapes.fetch(torch.empty(0, dtype=torch.int64)).shape == (0, 3, 16, 16)


def test_in_memory__subset__remembers_where_images_came_from(shapes: InMemorySource) -> None:
    part = shapes.subset(torch.tensor([7, 2]), "part").subset(torch.tensor([1]), "one")
    assert part.name == "one"
    assert part.describe(0) == "image 2 of 'oriented-shapes'"
    assert torch.equal(part.images[0], shapes.images[2])
    assert part.columns["label"].values.tolist() == [2]


def test_content_hashes__equal_pixels_only__are_equal(shapes: InMemorySource) -> None:
    hashes = shapes.content_hashes()
    assert len(set(hashes)) == len(shapes)
    changed = shapes.images.clone()
    changed[4, 0, 0, 0] ^= 1
    other = InMemorySource("other", changed, shapes.columns).content_hashes()
    assert [i for i in range(len(shapes)) if hashes[i] != other[i]] == [4]
    assert pixel_hashes(shapes) == hashes


def test_in_memory__wrong_number_of_origins__is_refused() -> None:
    with pytest.raises(DataError, match="1 origins for 2 images"):
        InMemorySource("x", torch.zeros(2, 3, 8, 8, dtype=torch.uint8), origins=["a"])


def test_streaming__sizes_differ__names_both_images_and_the_option(png: Callable[..., bytes]) -> None:
    source = StreamingSource("x", Encoded([png(), png(size=(9, 10))]), {"label": Column(torch.tensor([0, 1]), NAMES)})
    with pytest.raises(DataError, match=r"12x10 in item 0 and 9x10 in item 1: pass --data\.image-size N"):
        source.fetch(torch.tensor([0, 1]))


def test_streaming__image_size__resizes_all(png: Callable[..., bytes]) -> None:
    encoded = Encoded([png(), png(size=(30, 9))])
    source = StreamingSource("x", encoded, {"label": Column(torch.tensor([0, 1]), NAMES)}, image_size=8)
    assert source.fetch(torch.tensor([1, 0])).shape == (2, 3, 8, 8)


def test_streaming__damaged_later_image__is_named_when_fetched(png: Callable[..., bytes]) -> None:
    source = StreamingSource("x", Encoded([png(), png()[:40]]), {"label": Column(torch.tensor([0, 1]), NAMES)})
    assert source.fetch(torch.tensor([0])).shape == (1, 3, 10, 12)
    with pytest.raises(DataError, match="item 1"):
        source.fetch(torch.tensor([1]))


@pytest.mark.parametrize(
    ("count", "labels", "message"), [(0, [], "at least one image"), (2, [0], "1 values of 'label' for 2")]
)
def test_streaming__counts_unusable__is_refused(
    png: Callable[..., bytes], count: int, labels: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        StreamingSource(
            "x", Encoded([png()] * count), {"label": Column(torch.tensor(labels, dtype=torch.int64), NAMES)}
        )


def test_streaming__label_out_of_range__names_the_row(png: Callable[..., bytes]) -> None:
    with pytest.raises(DataError, match="got 2 at item 1"):
        StreamingSource("x", Encoded([png()] * 2), {"label": Column(torch.tensor([0, 2]), NAMES)})


def test_streaming__subset_and_pickle__keep_images_and_origins(png: Callable[..., bytes]) -> None:
    contents = [png(np.full((8, 8, 3), i, dtype=np.uint8)) for i in range(6)]
    source = StreamingSource("x", Encoded(contents), {"label": Column(torch.tensor([0, 1] * 3), NAMES)})
    part = pickle.loads(pickle.dumps(source.subset(torch.tensor([5, 1, 3]), "part")))
    part = part.subset(torch.tensor([2, 0]), "smaller")
    assert part.fetch(torch.tensor([0, 1]))[:, 0, 0, 0].tolist() == [3, 5]
    assert part.describe(1) == "item 5"
    assert part.content_hashes() == tuple(source.content_hashes()[i] for i in (3, 5))


def test_in_memory__of_streaming__is_equal(
    tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path]
) -> None:
    streaming = read_streaming(str(write_folder(shapes, tmp_path / "set")), DataConfig())
    memory = in_memory(streaming)
    everything = torch.arange(len(streaming))
    assert torch.equal(memory.images, streaming.fetch(everything))
    assert torch.equal(memory.columns["label"].values, streaming.columns["label"].values)
    assert memory.describe(3) == streaming.describe(3)
    assert pixel_hashes(streaming) == pixel_hashes(memory)
    assert streaming.content_hashes() == memory.content_hashes()
    assert in_memory(memory) is memory


def test_in_memory__notes__stay_through_every_cut(png: Callable[..., bytes]) -> None:
    source = StreamingSource("x", Encoded([png()] * 4), {"label": Column(torch.tensor([0, 1, 0, 1]), NAMES)})
    source.notes = ("left out one of 5 images",)
    memory = in_memory(source)
    assert memory.notes == source.notes
    assert memory.subset(torch.tensor([0, 1]), "part").notes == source.notes
    assert memory.without_targets(["label"], "hidden").notes == source.notes
