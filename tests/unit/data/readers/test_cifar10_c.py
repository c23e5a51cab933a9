"""The example that reads published files of CIFAR-10-C, on small files of the same form."""

from pathlib import Path

import numpy as np
import pytest
import torch

from auxo.data import DataConfig
from auxo.data.readers import read_named
from auxo.errors import ConfigError, DataError

EXAMPLE = Path(__file__).parents[4] / "examples" / "cifar10_c.py"
CLEAN = 12  # of 10,000
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write fog.npy and labels.npy: image i at severity s has the colour (i, s, 0)."""
    monkeypatch.delenv("AUXO_DATA", raising=False)
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    images = np.zeros((5, CLEAN, 32, 32, 3), np.uint8)
    images[..., 0] = np.arange(CLEAN)[:, None, None]
    images[..., 1] = np.arange(1, 6)[:, None, None, None]
    np.save(folder / "fog.npy", images.reshape(-1, 32, 32, 3))
    np.save(folder / "motion_blur.npy", images.reshape(-1, 32, 32, 3))
    np.save(folder / "labels.npy", np.tile(np.arange(CLEAN) % 10, 5).astype(np.uint8))
    return folder


def read(files, name, **options):
    config = DataConfig(root=str(files.parent), **options)
    return read_named(f"{EXAMPLE}:{name}", config, vocabulary={"label": NAMES})


def test_cifar10_c__kind__has_all_severities_with_their_labels(files):
    source = read(files, "motion_blur")
    everything = torch.arange(5 * CLEAN)
    images, labels = source.fetch(everything), source.columns["label"].values
    assert (len(source), source.image_shape, source.name) == (5 * CLEAN, (3, 32, 32), "cifar10-c-motion-blur")
    assert torch.equal(images[:, 0, 3, 4].long(), everything % CLEAN)
    assert torch.equal(images[:, 1, 31, 0].long(), everything // CLEAN + 1)
    assert torch.equal(labels, everything % CLEAN % 10)
    assert source.columns["label"].names == NAMES


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_cifar10_c__severity__has_its_block(files, severity):
    source = read(files, f"fog_{severity}")
    images = source.fetch(torch.arange(CLEAN))
    assert len(source) == CLEAN
    assert (images[:, 1] == severity).all()
    assert source.columns["label"].values.tolist() == [i % 10 for i in range(CLEAN)]


def test_cifar10_c__classes_in_another_order__are_mapped_by_name(files):
    config = DataConfig(root=str(files.parent))
    source = read_named(f"{EXAMPLE}:fog_1", config, vocabulary={"label": tuple(sorted(NAMES, reverse=True))})
    assert source.columns["label"].values.tolist() == [9 - i % 10 for i in range(CLEAN)]


def test_cifar10_c__bad_files__are_named_in_one_line(files, tmp_path):
    with pytest.raises(DataError, match=r"CIFAR-10-C at .*fgo\.npy, got none that can be read"):
        read(files, "fgo")
    np.save(files / "short.npy", np.zeros((7, 32, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"in short\.npy, .* got uint8 \(7, 32, 32, 3\) and \(60,\)"):
        read(files, "short")
    (files / "damaged.npy").write_bytes((files / "fog.npy").read_bytes()[:100])
    with pytest.raises(DataError, match=r"damaged\.npy, got none that can be read"):
        read(files, "damaged")
    with pytest.raises(ConfigError, match=r"the folder of copies, got none"):
        read_named(f"{EXAMPLE}:fog", DataConfig(), vocabulary={"label": NAMES})
