"""Small copies of the well-known sets under a root."""

from collections.abc import Callable
from pathlib import Path

import pytest

from auxo.data.fake import oriented_shapes


@pytest.fixture
def small_root(tmp_path: Path, write_parquet: Callable[..., Path]) -> Path:
    sets = {
        "mnist/train": (1200, 28),
        "mnist/test": (40, 28),
        "usps/test": (24, 16),
        "mnistm/test": (24, 32),
        "cifar10/train": (60, 32),
        "cifar10/test": (40, 32),
    }
    for seed, (name, (count, size)) in enumerate(sets.items()):
        write_parquet(oriented_shapes(count, size=size, seed=seed), tmp_path / f"{name}.parquet")
    return tmp_path
