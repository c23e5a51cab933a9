"""Write folders of photographs from what installed packages ship, to try auxo on before you have your own.

Three photographs are there: two of scikit-learn (a temple, a flower) and one of matplotlib (a portrait). Each is a
class, and its images are pieces of it: those that train come from the left two thirds, those from elsewhere from the
rest, in grey and darker. Pieces of one photograph are alike, so the accuracy says that the way from a folder to a
report works, and nothing of other photographs.

    python examples/photos.py FOLDER
"""

import importlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_image

SIDE = 160
COUNTS = {"train": 60, "elsewhere": 20}


def read_photographs() -> dict[str, Image.Image]:
    """Return the photographs by the name of their class."""
    temple, flower = (Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg"))
    with importlib.import_module("matplotlib.cbook").get_sample_data("grace_hopper.jpg") as stream:
        portrait = Image.open(stream).convert("RGB")
    return {"temple": temple, "flower": flower, "portrait": portrait}


def cut_piece(photograph: Image.Image, split: str, generator: np.random.Generator) -> Image.Image:
    """Return a square piece of the split's part of a photograph, of a third to two thirds of its shorter side."""
    border = photograph.width * 2 // 3
    start, stop = (0, border) if split == "train" else (border, photograph.width)
    side = min(int(min(photograph.size) * generator.uniform(0.33, 0.66)), stop - start)
    left = int(generator.integers(start, stop - side + 1))
    top = int(generator.integers(0, photograph.height - side + 1))
    piece = photograph.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    if split == "train":
        return piece
    return ImageEnhance.Brightness(ImageOps.grayscale(piece).convert("RGB")).enhance(0.7)


def write_folders(root: Path, *, seed: int = 0) -> None:
    """Write ``root/SPLIT/CLASS/NUMBER.png``."""
    generator = np.random.default_rng(seed)
    for split, count in COUNTS.items():
        for name, photograph in read_photographs().items():
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                cut_piece(photograph, split, generator).save(root / split / name / f"{number:03d}.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("expected one folder to write to: python examples/photos.py FOLDER")
    write_folders(Path(sys.argv[1]))
