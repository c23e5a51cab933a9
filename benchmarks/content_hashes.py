"""What it costs to know images by their bytes, beside one epoch of reading and decoding them; prints Markdown.

Files of two kinds, cut out of scikit-learn's two photographs, lie in a temporary folder and in the page cache. The
variants take turns; times are processor seconds of one thread per 1,000 images, the median over the rounds. "look up"
is the least that a cache of hashes by path, size, times and inode would cost: a look at each file. Nothing here asserts
a time.

    python benchmarks/content_hashes.py                a minute on one core
    python benchmarks/content_hashes.py --rounds 1     a smoke test of seconds; its numbers mean nothing
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
import tyro
from PIL import Image
from sklearn.datasets import load_sample_images

from auxo.data import StreamingSource
from auxo.data.readers.listing import FileImages
from measurement import describe_machine, markdown_table


class Kind(NamedTuple):
    """Files of one kind.

    Args:
        name: in the table.
        size: width and height in pixels.
        ending: of their names.
        image_size: what they are decoded to; ``None`` for their own.
    """

    name: str
    size: tuple[int, int]
    ending: str
    image_size: int | None


KINDS = (
    Kind("photographs of 480x360 as JPEG, to 64x64", (480, 360), ".jpg", 64),
    Kind("the same, to 224x224", (480, 360), ".jpg", 224),
    Kind("images of 32x32 as PNG", (32, 32), ".png", None),
)


def main(rounds: int = 5, count: int = 500) -> None:
    """Measure and print.

    Args:
        rounds: of all variants.
        count: of images of each kind.
    """
    torch.set_num_threads(1)
    rows = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as place:
            files = write_files(Path(place), kind, count)
            variants = list_variants(files, kind)
            found: dict[str, list[float]] = {name: [] for name in variants}
            for _ in range(rounds):
                for name, run in variants.items():
                    begun = time.process_time()
                    run()
                    found[name].append((time.process_time() - begun) / count * 1000)
            size = sum(file.stat().st_size for file in files) / count / 1024
        times = {name: median(each) for name, each in found.items()}
        epoch = times["read and decode"]
        rows.append([f"**{kind.name}**, {size:.0f} KiB each", "", ""])
        rows += [[name, f"{each:.3f}", f"{100 * each / epoch:.1f} %"] for name, each in times.items()]
    print(markdown_table(["per 1,000 images", "processor seconds", "of an epoch"], rows))
    print(describe_machine(torch.device("cpu")))


def write_files(place: Path, kind: Kind, count: int) -> list[Path]:
    """Write crops of the two photographs, all different."""
    photos = [Image.fromarray(np.asarray(photo)) for photo in load_sample_images().images]
    generator = np.random.default_rng(0)
    files = []
    for number in range(count):
        photo = photos[number % 2]
        left, top = (
            int(generator.integers(whole - part + 1)) for whole, part in zip(photo.size, kind.size, strict=True)
        )
        files.append(place / f"{number:05d}{kind.ending}")
        photo.crop((left, top, left + kind.size[0], top + kind.size[1])).save(files[-1], quality=90)
    return files


def list_variants(files: list[Path], kind: Kind) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    source = StreamingSource(kind.name, FileImages(files), image_size=kind.image_size)
    parts = torch.arange(len(files)).split(256)
    return {
        "look up": lambda: [os.stat(file) for file in source.encoded.paths],
        "read and hash": source._hash_contents,
        "read and decode": lambda: [source.fetch(part) for part in parts],
        "read, hash and decode": lambda: [source.fetch_hashed(part) for part in parts],
    }


if __name__ == "__main__":
    tyro.cli(main)
