import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data.decode import decode_image, read_bytes
from auxo.errors import DataError


def save(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def noise(height: int = 10, width: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_decode_image__rgb_png__gives_its_pixels_channels_first() -> None:
    pixels = noise()
    image = decode_image(save(Image.fromarray(pixels)), where="a.png", image_size=None)
    assert image.shape == (3, 10, 12)
    assert torch.equal(image, torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_decode_image__accepted_modes__give_three_channels(mode: str) -> None:
    image = Image.fromarray(noise()).convert(mode)
    decoded = decode_image(save(image, "TIFF" if mode == "CMYK" else "PNG"), where="a", image_size=None)
    expected = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(decoded, expected)
    if mode in ("1", "L", "LA"):
        assert torch.equal(decoded[0], decoded[1])
        assert torch.equal(decoded[0], decoded[2])


def test_decode_image__palette_with_transparency__is_decoded_without_a_warning() -> None:
    image = Image.fromarray(noise()).convert("P")
    decoded = decode_image(save(image, transparency=bytes(range(256))), where="a", image_size=None)
    assert torch.equal(decoded, torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", np.uint16), ("I", np.int32), ("F", np.float32)])
def test_decode_image__more_than_8_bits__names_mode_and_file(mode: str, dtype: type) -> None:
    content = save(Image.fromarray(np.full((9, 9), 7, dtype=dtype)), "TIFF")
    with pytest.raises(DataError, match=rf"8-bit image .* got mode {mode} in deep\.tif"):
        decode_image(content, where="deep.tif", image_size=None)


def write_deep(kind: str) -> bytes:
    """Colours of 16 bits, which Pillow does not write."""
    pixels = np.random.default_rng(0).integers(0, 2**16, (9, 9, 3))
    if kind == "PPM":
        return b"P6\n9 9\n65535\n" + pixels.astype(">u2").tobytes()
    if kind == "plain PPM":
        return b"P3\n9 9\n1023\n" + " ".join(map(str, (pixels >> 6).flatten())).encode()
    if kind == "PNG":
        lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", 9, 9, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(lines)),
            (b"IEND", b""),
        ]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    if kind == "JPEG2000":
        content = bytearray(save(Image.fromarray(noise()), "JPEG2000"))
        size = content.index(b"\xff\x4f\xff\x51")
        content[size + 42 : size + 51 : 3] = bytes([15] * 3)  # the bits of each channel less one
        return bytes(content)
    plain = Image.fromarray(noise())
    content = bytearray(save(plain, "TIFF"))
    place = content.index(struct.pack("<3H", 8, 8, 8))
    content[place : place + 6] = struct.pack("<3H", 16, 16, 16)
    return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "PPM", "plain PPM", "JPEG2000", "TIFF"])
def test_decode_image__colours_of_16_bits__are_refused_as_grey_is(kind: str) -> None:
    with pytest.raises(DataError, match=r"8-bit image .* got more than 8 bits per channel in deep\.img: convert it"):
        decode_image(write_deep(kind), where="deep.img", image_size=None)


@pytest.mark.parametrize("file_format", ["JPEG2000", "PPM", "TIFF", "PNG", "BMP"])
def test_decode_image__colours_of_8_bits__are_taken_from_any_of_them(file_format: str) -> None:
    pixels = noise()
    decoded = decode_image(save(Image.fromarray(pixels), file_format), where="a", image_size=None)
    assert torch.equal(decoded, torch.from_numpy(pixels).permute(2, 0, 1))


def test_decode_image__nan_pixels__says_so() -> None:
    pixels = np.zeros((9, 9), dtype=np.float32)
    pixels[3, 4] = np.nan
    with pytest.raises(DataError, match=r"NaN pixels in deep\.tif"):
        decode_image(save(Image.fromarray(pixels), "TIFF"), where="deep.tif", image_size=None)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_decode_image__truncated__names_the_file(file_format: str) -> None:
    content = save(Image.fromarray(noise(40, 40)), file_format)
    with pytest.raises(DataError, match=r"cut\.img"):
        decode_image(content[: len(content) // 2], where="cut.img", image_size=None)


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_decode_image__no_image__names_the_file(content: bytes) -> None:
    with pytest.raises(DataError, match=rf"expected an image .* got {len(content)} bytes of something else in notes"):
        decode_image(content, where="notes", image_size=None)


@pytest.mark.parametrize("size", [(7, 40), (40, 7)])
def test_decode_image__too_small__names_size_and_file(size: tuple[int, int]) -> None:
    content = save(Image.new("RGB", size))
    with pytest.raises(DataError, match=rf"at least 8x8 pixels, got {size[0]}x{size[1]} in tiny"):
        decode_image(content, where="tiny", image_size=32)


@pytest.mark.parametrize("divisor", [1.5, 3])
def test_decode_image__decompression_bomb__is_refused(monkeypatch: pytest.MonkeyPatch, divisor: float) -> None:
    content = save(Image.new("RGB", (40, 40)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(1600 / divisor))
    with pytest.raises(DataError, match=r"plausible size.*\(bomb\.png\)"):
        decode_image(content, where="bomb.png", image_size=None)


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, -1), (8, 1)])
def test_decode_image__exif_orientation__is_honoured(orientation: int, turns: int) -> None:
    pixels = noise()
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(save(Image.fromarray(pixels), exif=exif), where="a", image_size=None)
    assert torch.equal(decoded, torch.from_numpy(np.rot90(pixels, turns).copy()).permute(2, 0, 1))


def test_decode_image__image_size__centre_crops_to_a_square() -> None:
    pixels = np.zeros((16, 48, 3), dtype=np.uint8)
    pixels[:, 16:32] = 255
    decoded = decode_image(save(Image.fromarray(pixels)), where="a", image_size=16)
    assert decoded.shape == (3, 16, 16)
    assert (decoded == 255).all()


def test_decode_image__image_size_smaller__is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    decoded = decode_image(save(Image.fromarray(stripes)), where="a", image_size=8)
    assert decoded.shape == (3, 8, 8)
    assert decoded.float().sub(127.5).abs().max() < 30


def test_decode_image__large_jpeg_with_image_size__keeps_its_content() -> None:
    ramp = np.tile(np.linspace(0, 255, 512, dtype=np.uint8)[None, :, None], (256, 1, 3))
    decoded = decode_image(save(Image.fromarray(ramp), "JPEG", quality=95), where="a", image_size=16)
    expected = torch.linspace(64, 191, 16)
    assert (decoded.float().mean((0, 1)) - expected).abs().max() < 8


def test_decode_image__error__survives_pickling(png: Callable[..., bytes]) -> None:
    with pytest.raises(DataError) as caught:
        decode_image(png()[:30], where="cut.png", image_size=None)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_bytes__device_or_pipe__is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "x.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "y.png")
    for name in ("x.png", "y.png"):
        with pytest.raises(DataError, match=r"a file of at most .* bytes, got a device, pipe or folder at"):
            read_bytes(str(tmp_path / name))


def test_read_bytes__file_too_large_for_an_image__is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(2**40)  # no block of it is on the disk
    with pytest.raises(DataError, match=r"got one of 1,099,511,627,776 bytes at"):
        read_bytes(str(tmp_path / "x.png"))
