"""Small real files of every kind that the readers take."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data.fake import oriented_shapes
from auxo.data.sources import InMemorySource


def encode(pixels: torch.Tensor, file_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, file_format)
    return file.getvalue()


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def shapes() -> InMemorySource:
    return oriented_shapes(40, size=16, seed=0)


@pytest.fixture
def png() -> Callable[..., bytes]:
    """Encode an array of shape (height, width[, channels]), by default a small colourful one."""

    def make(array: np.ndarray | None = None, *, size: tuple[int, int] = (12, 10), mode: str | None = None) -> bytes:
        if array is None:
            array = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(array)
        file = io.BytesIO()
        (image.convert(mode) if mode else image).save(file, "PNG" if mode != "CMYK" else "TIFF")
        return file.getvalue()

    return make


@pytest.fixture
def write_folder() -> Callable[..., Path]:
    """Write a source as a folder of class folders."""

    def write(source: InMemorySource, root: Path) -> Path:
        for i in range(len(source)):
            folder = root / source.vocabulary["label"][int(source.columns["label"].values[i])]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:03d}.png").write_bytes(encode(source.images[i]))
        return root

    return write


@pytest.fixture
def write_csv() -> Callable[..., Path]:
    """Write rows, header first, as a CSV."""

    def write(rows: list[list[str]], path: Path) -> Path:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return path

    return write


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., datasets.Dataset]:
    """Make a data set of a source, with class names in its features."""

    def make(source: InMemorySource) -> datasets.Dataset:
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(source.vocabulary["label"]))}
        )
        images = [{"bytes": encode(image), "path": None} for image in source.images]
        labels = source.columns["label"].values.tolist()
        return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

    return make


@pytest.fixture(scope="session")
def write_parquet(make_dataset: Callable[..., datasets.Dataset]) -> Callable[..., Path]:
    """Write a source as a Parquet file."""

    def write(source: InMemorySource, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_dataset(source).to_parquet(str(path))
        return path

    return write


def draw_pair(index: int, *, width: int = 20, height: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy image of three upright bands and the number 0..2 of the band of every pixel."""
    generator = np.random.default_rng(index)
    edges = np.sort(generator.integers(2, width - 2, 2))
    mask = np.broadcast_to(np.searchsorted(edges, np.arange(width), side="right"), (height, width)).astype(np.uint8)
    noise = generator.integers(0, 60, (height, width, 3))
    return (60 * mask[..., None] + noise).astype(np.uint8), mask.copy()


@pytest.fixture
def write_pairs() -> Callable[..., Path]:
    """Write noisy bands as a folder of images and masks; ``values`` are what the three bands are in the masks."""

    def write(
        root: Path,
        count: int = 12,
        *,
        first: int = 0,
        values: tuple[int, ...] = (0, 1, 2),
        masks: str = "masks",
        **size: int,
    ) -> Path:
        for folder in ("images", masks):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            image, mask = draw_pair(i, **size)
            Image.fromarray(image).save(root / "images" / f"{i:03d}.png")
            Image.fromarray(np.array(values, dtype=np.uint8)[mask]).save(root / masks / f"{i:03d}.png")
        return root

    return write
