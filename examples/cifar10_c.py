"""The published files of CIFAR-10-C as sets that a model is judged on, one for each kind or for one of its severities.

auxo train supervised --data.scenario cifar10 --data.ood examples/cifar10_c.py:fog examples/cifar10_c.py:fog_3

The folder ``CIFAR-10-C`` of the copies holds what https://zenodo.org/records/2535967 offers: ``labels.npy`` and a file
for each kind, 10,000 images at each of five severities one after the other.
"""

from collections.abc import Callable

import numpy as np

from auxo.data import AbstractSource, DataConfig, InMemorySource
from auxo.errors import ConfigError, DataError

_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SEVERITIES = 5
_PLACE = "CIFAR-10-C"


def read_kind(name: str, config: DataConfig) -> AbstractSource:
    """Return the images of a file, ``fog``, or of one of its severities, ``fog_3``.

    Raises:
        ConfigError: it is not said where the copies are.
        DataError: a file is not there, or has no such images; the message names it.
    """
    if config.data_root is None:
        raise ConfigError("the folder of copies", "none", "pass --data.root, or set AUXO_DATA")
    kind, _, number = name.rpartition("_") if name[-2:] in {f"_{n + 1}" for n in range(_SEVERITIES)} else (name, "", "")
    arrays = []
    for stem in (kind, "labels"):
        path = config.data_root / _PLACE / f"{stem}.npy"
        try:
            arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise DataError(
                f"a file of CIFAR-10-C at {path}", f"none that can be read ({error})", "download it"
            ) from error
    images, labels = arrays
    fits = images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3 and labels.shape == images.shape[:1]
    if not fits or len(images) % _SEVERITIES or len(images) == 0:
        expected = (
            f"as many labels as images of bytes with three colours in {kind}.npy, {_SEVERITIES} times as many as clean"
        )
        raise DataError(expected, f"{images.dtype} {images.shape} and {labels.shape}", "download both again")
    each = len(images) // _SEVERITIES
    first, last = (each * (int(number) - 1), each * int(number)) if number else (0, len(images))
    pixels = np.ascontiguousarray(images[first:last].transpose(0, 3, 1, 2))
    return InMemorySource.from_arrays(
        f"cifar10-c-{name.replace('_', '-')}",
        pixels,
        {"label": labels[first:last].astype(np.int64)},
        {"label": _CLASSES},
    )


def __getattr__(name: str) -> Callable[[DataConfig], AbstractSource]:
    """Return what reads the kind of that name, so that no list of them is needed here."""
    if name.startswith("_"):
        raise AttributeError(name)
    return lambda config: read_kind(name, config)
