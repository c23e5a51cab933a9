"""Masks of every kind that tools write, brought to the size of their image, and what is wrong with others."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data.decode import AbstractEncodedImages, decode_image
from auxo.data.mask_legend import MaskEntry, MaskLegend
from auxo.data.masks import EncodedMasks, find_indices
from auxo.errors import DataError

COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))
LEGEND = MaskLegend.of_entries(
    [MaskEntry(name, index, colour) for name, index, colour in zip("abc", range(3), COLOURS, strict=True)],
    ignore_index=255,
    origin="classes.csv",
)
VALUES = np.random.default_rng(0).integers(0, 3, (16, 20), dtype=np.uint8)
Encode = Callable[..., bytes]


class Rows(AbstractEncodedImages):
    def __init__(self, *contents: bytes, name: str = "mask") -> None:
        self.contents, self.name = contents, name

    def __len__(self) -> int:
        return len(self.contents)

    def read(self, row: int) -> bytes:
        return self.contents[row]

    def describe(self, row: int) -> str:
        return f"{self.name} {row}"


class Counted(Rows):
    """Counts how often a row is read."""

    reads = 0

    def read(self, row: int) -> bytes:
        self.reads += 1
        return super().read(row)


def test_decode__again__does_not_read_the_image_for_its_size_again() -> None:
    images = Counted(encode_photo(), name="image")
    masks = EncodedMasks(images, Rows(encode(Image.fromarray(VALUES))), LEGEND)
    first, second = (masks.decode(0, image_size=None) for _ in range(2))
    assert images.reads == 1
    assert torch.equal(first, second)


def encode(image: Image.Image, file_format: str = "PNG", orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, file_format, **({"exif": exif} if orientation != 1 else {}))
    return file.getvalue()


def encode_photo(width: int = 20, height: int = 16, orientation: int = 1) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels), "JPEG", orientation)


def decode(mask: bytes, image: bytes | None = None, *, legend: MaskLegend = LEGEND, size: object = None) -> np.ndarray:
    masks = EncodedMasks(Rows(image or encode_photo(), name="image"), Rows(mask), legend)
    return masks.decode(0, image_size=size).numpy()


def as_palette() -> Image.Image:
    image = Image.fromarray(VALUES).convert("P")
    image.putdata(VALUES.flatten().tolist())
    image.putpalette([part for colour in COLOURS for part in colour])
    return image


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(VALUES),
        as_palette(),
        Image.fromarray(VALUES.astype(np.uint16)),
        Image.fromarray(VALUES.astype(np.int32)),
        Image.merge("LA", [Image.fromarray(VALUES), Image.new("L", (20, 16), 7)]),
        Image.fromarray(np.array(COLOURS, dtype=np.uint8)[VALUES]),
        Image.fromarray(np.array(COLOURS, dtype=np.uint8)[VALUES]).convert("RGBA"),
    ],
    ids=["L", "P", "I;16", "I", "LA", "RGB", "RGBA"],
)
def test_decode__every_mode__gives_the_classes(image: Image.Image) -> None:
    for file_format in ("TIFF",) if image.mode == "I" else ("PNG", "TIFF"):  # a PNG of mode I cannot be written
        assert (decode(encode(image, file_format)) == VALUES).all()


def test_decode__colours_of_16_bits__are_refused() -> None:
    mask = b"P6\n20 16\n65535\n" + np.array(COLOURS, dtype=np.uint16)[VALUES].astype(">u2").tobytes()
    with pytest.raises(DataError, match=r"a mask of colours of 8 bits per channel, got more in mask 0"):
        decode(mask)


def test_decode__two_values_in_one_bit__are_numbers() -> None:
    assert (decode(encode(Image.fromarray(VALUES == 1))) == (VALUES == 1)).all()


def test_decode__colours_alone_in_the_table__are_read_through_the_palette() -> None:
    entries = [MaskEntry(name, None, colour) for name, colour in zip("cba", reversed(COLOURS), strict=True)]
    legend = MaskLegend.of_entries(entries, ignore_index=255, origin="classes.csv")
    assert (decode(encode(as_palette()), legend=legend) == 2 - VALUES).all()


def test_decode__rgb_without_colours__says_how_to_give_them() -> None:
    legend = MaskLegend.of_entries(
        [MaskEntry("a", 0), MaskEntry("b", 1)], ignore_index=255, origin="the training masks"
    )
    coloured = encode(Image.fromarray(np.array(COLOURS, dtype=np.uint8)[VALUES]))
    with pytest.raises(DataError, match=r"a colour for every class, got one in RGB: mask 0: give .* classes.csv"):
        decode(coloured, legend=legend)
    with pytest.raises(DataError, match="got one of mode RGB: mask 0"):
        find_indices(Rows(coloured), rows=[0], ignore_index=255, source="set")


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "JPEG2000"])
def test_decode__format_that_may_change_values__is_refused(file_format: str) -> None:
    content = encode(Image.fromarray(VALUES), file_format)
    with pytest.raises(DataError, match=f"a format that keeps every value, got {file_format} in mask 0: .* as PNG"):
        decode(content)


def test_decode__other_size__names_both() -> None:
    with pytest.raises(DataError, match="a mask of the size of its image, got 20x16 in mask 0 for 24x16 in image 0"):
        decode(encode(Image.fromarray(VALUES)), encode_photo(24, 16))


def test_decode__damaged_or_no_mask__is_told() -> None:
    with pytest.raises(
        DataError, match=r"a mask \(PNG, BMP, GIF, PPM, TIFF\), got 4 bytes of something else in mask 0"
    ):
        decode(b"text")
    with pytest.raises(DataError, match="a whole mask, got a damaged one in mask 0"):
        decode(encode(Image.fromarray(VALUES))[:-40])
    with pytest.raises(DataError, match="a mask of whole numbers or RGB, got mode F in mask 0"):
        decode(encode(Image.fromarray(VALUES.astype(np.float32)), "TIFF"))


def sample_nearest(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixel whose centre is nearest, after cropping around the centre to the proportions asked for."""
    ratio = max(height / values.shape[0], width / values.shape[1])
    rows, columns = (
        ((np.arange(size) + 0.5 - size / 2) / ratio + length / 2).astype(int)
        for size, length in ((height, values.shape[0]), (width, values.shape[1]))
    )
    return values[np.ix_(rows, columns)]


@pytest.mark.parametrize(("size", "shape"), [(8, (8, 8)), ((8, 10), (8, 10)), (32, (32, 32))])
def test_decode__image_size__takes_the_nearest_pixel(size: object, shape: tuple[int, int]) -> None:
    found = decode(encode(Image.fromarray(VALUES)), size=size)
    assert found.shape == shape
    assert (found == sample_nearest(VALUES, *shape)).all()


def test_decode__image_size__crops_as_the_image_is_cropped() -> None:
    mask = np.zeros((64, 96), dtype=np.uint8)
    mask[:, 30:70] = 1
    mask[20:, 50:] = 2
    image = encode(Image.fromarray(np.array(COLOURS, dtype=np.uint8)[mask]))
    found = decode(encode(Image.fromarray(mask)), image, size=16)
    pixels = decode_image(image, where="image", image_size=16, is_exact=True)
    nearest = (pixels.unsqueeze(0).int() - torch.tensor(COLOURS)[:, :, None, None]).abs().sum(1).min(0)
    is_pure = (nearest.values == 0).numpy()
    assert is_pure.mean() > 0.7
    assert (found == nearest.indices.numpy())[is_pure].all()


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """What an image stored as ``values`` looks like."""
    return {1: values, 6: np.rot90(values, -1), 8: np.rot90(values), 5: values.T, 3: values[::-1, ::-1]}[orientation]


@pytest.mark.parametrize("orientation", [5, 6, 8])
def test_decode__image_on_its_side__tells_by_the_size_how_the_mask_lies(orientation: int) -> None:
    upright = turn(VALUES, orientation)
    image = encode_photo(20, 16, orientation)
    assert decode_image(image, where="image", image_size=None).shape[1:] == upright.shape
    assert (decode(encode(Image.fromarray(VALUES)), image) == upright).all()  # as the image is stored
    assert (decode(encode(Image.fromarray(np.ascontiguousarray(upright))), image) == upright).all()  # as it is shown


@pytest.mark.parametrize("orientation", [3, 6])
def test_decode__orientation_of_the_mask_itself__is_obeyed(orientation: int) -> None:
    mask = encode(Image.fromarray(VALUES), orientation=orientation)
    assert (decode(mask, encode_photo(20, 16, orientation)) == turn(VALUES, orientation)).all()


def test_decode__turned_image_whose_mask_may_lie_in_two_ways__is_refused() -> None:
    with pytest.raises(DataError, match=r"lies as its mask mask 0 does, got the EXIF orientation 3 of image 0 alone"):
        decode(encode(Image.fromarray(VALUES)), encode_photo(20, 16, orientation=3))
    square = VALUES[:, :16]
    with pytest.raises(DataError, match="the EXIF orientation 6 of image 0 alone"):
        decode(encode(Image.fromarray(np.ascontiguousarray(square))), encode_photo(16, 16, orientation=6))


def test_find_indices__masks__names_their_values() -> None:
    rows = Rows(*(encode(Image.fromarray(values)) for values in (VALUES * 10, VALUES + np.uint8(253))))
    assert find_indices(rows, rows=[0], ignore_index=255, source="set") == [
        MaskEntry("0", 0),
        MaskEntry("10", 10),
        MaskEntry("20", 20),
    ]
    assert [entry.name for entry in find_indices(rows, rows=[1], ignore_index=255, source="set")] == ["253", "254"]


def test_find_indices__black_and_white__says_that_255_is_ignored() -> None:
    rows = Rows(encode(Image.fromarray((VALUES == 1).astype(np.uint8) * 255)))
    with pytest.raises(DataError, match=r"got 0 beside the ignored 255 in 'set': .* --data.ignore-index None"):
        find_indices(rows, rows=[0], ignore_index=255, source="set")
    assert len(find_indices(rows, rows=[0], ignore_index=None, source="set")) == 2


def test_find_indices__photograph__is_no_mask() -> None:
    noise = np.arange(320, dtype=np.uint16).reshape(16, 20)
    with pytest.raises(DataError, match="at most 255 values in masks, got more in 'set' up to mask 0"):
        find_indices(Rows(encode(Image.fromarray(noise))), rows=[0], ignore_index=255, source="set")


def test_hide__masks__have_no_names_and_no_values() -> None:
    hidden = EncodedMasks(Rows(encode_photo()), Rows(encode(Image.fromarray(VALUES))), LEGEND).hide()
    assert hidden.names == ()
    with pytest.raises(ValueError, match="hidden"):
        hidden.decode(0, image_size=None)
