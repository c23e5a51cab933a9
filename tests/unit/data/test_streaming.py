"""A source of encoded images with masks: the same in memory, in workers and in parts."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.data import DataConfig, Loader, StreamingSource
from auxo.data.loader import in_memory
from auxo.data.readers import read_source, read_streaming, store
from auxo.data.sources import target_hashes
from auxo.errors import DataError

Write = Callable[..., Path]
EVERY = torch.arange(12)


def read(folder: Path, **options: object) -> StreamingSource:
    return read_streaming(str(folder), DataConfig(**options), mask="mask")


def masks_of(folder: Path) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(Image.open(file))) for file in sorted((folder / "masks").iterdir())])


@pytest.fixture
def folder(tmp_path: Path, write_pairs: Write) -> Path:
    return write_pairs(tmp_path / "pairs")


def test_fetch_targets__masks__are_those_of_the_files(folder: Path) -> None:
    source = read(folder)
    assert source.places == {"mask": 255}
    assert source.vocabulary == {"mask": ("0", "1", "2")}
    found = source.fetch_targets(torch.tensor([3, 0, 3]))["mask"]
    assert found.dtype == torch.uint8
    assert torch.equal(found, masks_of(folder)[[3, 0, 3]])


def test_in_memory__masks__are_decoded_with_the_images(folder: Path) -> None:
    source = read(folder)
    decoded = in_memory(source)
    assert torch.equal(decoded.images, source.fetch(EVERY))
    assert torch.equal(decoded.maps["mask"].values, masks_of(folder))
    assert decoded.maps["mask"].names == ("0", "1", "2")
    assert target_hashes(decoded, "mask") == target_hashes(source, "mask")
    assert decoded.count_places("mask") == source.count_places("mask") == tuple(masks_of(folder).flatten().bincount())


def test_loader__workers__bring_masks_with_their_images(folder: Path) -> None:
    source = read(folder)
    batches = [list(Loader(source, batch_size=5, seed=0, workers=workers).batches(range(3))) for workers in (0, 1)]
    for here, there in zip(*batches, strict=True):
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.targets["mask"], there.targets["mask"])
        assert torch.equal(here.targets["mask"], masks_of(folder)[here.indices])


def test_loader__bad_mask_in_a_worker__is_named(folder: Path) -> None:
    source = read(folder)
    (folder / "masks" / "004.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"4 bytes of something else in .*masks/004.png"):
        list(Loader(source, batch_size=5, seed=0, workers=1).batches(range(3)))


def test_subset_and_pickle__masks__stay_with_their_images(folder: Path) -> None:
    part = pickle.loads(pickle.dumps(read(folder))).subset(torch.tensor([7, 2]), "part")
    assert torch.equal(part.fetch_targets(torch.tensor([0, 1]))["mask"], masks_of(folder)[[7, 2]])
    assert part.count_places("mask") == tuple(masks_of(folder)[[7, 2]].flatten().bincount(minlength=3).tolist())


@pytest.mark.parametrize("is_decoded", [False, True])
def test_without_targets__masks__say_nothing_and_a_copy_stays(folder: Path, is_decoded: bool) -> None:
    source = in_memory(read(folder)) if is_decoded else read(folder)
    hidden = source.duplicate_targets({"mask": "hidden_mask", "depth": "d"}).without_targets(["mask"], "few")
    targets = hidden.fetch_targets(EVERY)
    assert targets.keys() == {"mask", "hidden_mask"}
    assert (targets["mask"] == 255).all()
    assert torch.equal(targets["hidden_mask"], masks_of(folder))
    assert hidden.vocabulary == {"mask": (), "hidden_mask": ("0", "1", "2")}
    assert torch.equal(in_memory(hidden).fetch_targets(EVERY)["mask"], targets["mask"])


def test_image_size__images_and_masks__have_it(folder: Path) -> None:
    source = read(folder, image_size=8)
    assert source.fetch(EVERY).shape == (12, 3, 8, 8)
    middle = masks_of(folder)[:, :, 2:18]
    # The side is half of the short one: the nearest pixel is the second of every two.
    assert torch.equal(source.fetch_targets(EVERY)["mask"], middle[:, 1::2, 1::2])


def test_image_width__images_and_masks__are_cropped_to_it(folder: Path) -> None:
    source = read(folder, train="x", image_size=8, image_width=10)
    assert source.image_shape == (3, 8, 10)
    assert torch.equal(source.fetch_targets(EVERY)["mask"], masks_of(folder)[:, 1::2, 1::2])


def test_fetch__images_of_two_sizes__says_how_to_resize(folder: Path, write_pairs: Write) -> None:
    write_pairs(folder, 1, first=12, width=24)
    source = read(folder)
    with pytest.raises(DataError, match=r"images of one size, got 20x16 in .*000.png and 24x16 in .*012.png"):
        source.fetch_targets(torch.tensor([12]))


def test_store__auto__counts_masks_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, pixels = read(folder), 12 * 16 * 20
    for limit, is_decoded in ((4 * pixels, True), (4 * pixels - 1, False)):
        monkeypatch.setattr("auxo.data.readers._AUTO_MEMORY_BYTES", limit)
        assert isinstance(store([source], DataConfig())[0], StreamingSource) != is_decoded
    hidden = source.without_targets(["mask"], "hidden")
    monkeypatch.setattr("auxo.data.readers._AUTO_MEMORY_BYTES", 3 * pixels)
    assert not isinstance(store([hidden], DataConfig())[0], StreamingSource)


def test_colours__table_of_classes__has_those_of_the_masks(folder: Path) -> None:
    lines = "name,index,colour", "sky,0,#0000ff", "tree,1,#00ff00", "road,2,#808080"
    (folder / "classes.csv").write_text("\n".join(lines))
    source = read_source(str(folder), DataConfig(), mask="mask")
    assert source.vocabulary["mask"] == ("sky", "tree", "road")
    assert source.colours == {"mask": ((0, 0, 255), (0, 255, 0), (128, 128, 128))}
    assert source.subset(torch.tensor([1]), "part").colours == source.colours
