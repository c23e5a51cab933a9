"""CamVid from small copies of its form, and the real one where it is."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from auxo.data import DataConfig, load_splits
from auxo.errors import DataError
from auxo.tasks import Segmentation

NAMES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]


def encode(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def write_part(path: Path, frames: list[str], *, seed: int) -> None:
    generator = np.random.default_rng(seed)
    cells = {"image": [], "annotation": []}
    for frame in frames:
        mask = generator.integers(0, 12, (18, 24), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
        pixels = generator.integers(0, 256, (36, 48, 3), dtype=np.uint8)
        for name, array in (("image", pixels), ("annotation", mask)):
            cells[name].append({"bytes": encode(array), "path": f"{frame}.png"})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({name: pa.array(values, kind) for name, values in cells.items()})
    path.parent.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata({"classes": json.dumps([*NAMES, "unlabelled"])}), path)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copies")
    write_part(root / "camvid/train.parquet", [f"0001TP_{i:06d}" for i in range(13)] + ["0006R0_f00930"], seed=0)
    write_part(root / "camvid/val.parquet", [f"0016E5_{i:05d}" for i in range(4)], seed=1)
    write_part(root / "camvid/test.parquet", [f"Seq05VD_f{i:05d}" for i in range(4)], seed=2)
    return root


def load(root: Path, **options: object):
    return load_splits(DataConfig(scenario="camvid", root=str(root), **options), seed=0, task=Segmentation)


def test_build__copies__are_read_with_their_sequences_and_clips(root: Path) -> None:
    splits = load(root, image_size=18)
    source = splits.train.source
    assert source.image_shape == (3, 18, 24)
    task = splits.task()
    assert list(task.class_names) == NAMES
    assert task.blocks == "clip"
    assert task.palette[3] == (128, 64, 128)
    assert source.columns["sequence"].names == ("0001TP", "0006R0")
    clips = source.columns["clip"]
    assert clips.values.bincount().tolist() == [10, 3, 1]
    assert [len(split.source) for split in splits.evaluation()] == [4, 4]
    values = source.fetch_targets(torch.arange(14))["mask"].unique().tolist()
    assert values == [*range(11), 255]


def test_build__smaller_size__keeps_masks_and_images_together(root: Path) -> None:
    whole, half = (load(root, image_size=size).train.source for size in (36, 18))
    everything = torch.arange(14)
    masks = [source.fetch_targets(everything)["mask"] for source in (whole, half)]
    assert torch.equal(masks[0][:, ::2, ::2], masks[1])  # the made-up masks are of squares of two pixels
    pixels = [source.fetch(everything).float() for source in (whole, half)]
    assert (torch.nn.functional.avg_pool2d(pixels[0], 2) - pixels[1]).abs().mean() < 20


def test_load_splits__own_sets_beside_it__are_brought_to_its_size(root: Path, write_pairs, tmp_path: Path) -> None:
    street = write_pairs(tmp_path / "street", 3, width=64, height=40)
    (street / "classes.csv").write_text("name,index\nroad,0\nsky,1\ntree,2\n")
    splits = load(root, image_size=18, ood=(str(street),), unlabelled=str(write_pairs(tmp_path / "more", 3, first=9)))
    assert splits.ood[0].source.image_shape == splits.unlabelled.source.image_shape == (3, 18, 24)
    assert set(splits.ood[0].source.fetch_targets(torch.arange(3))["mask"].unique().tolist()) == {0, 3, 5}


def test_build__few_training_images__are_drawn(root: Path) -> None:
    assert len(load(root, num_train=5).train.source) == 5


def test_build__no_copy__says_where_to_put_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"a copy of camvid under the root, got no file .*camvid/train.parquet"):
        load(tmp_path)
    monkeypatch.delenv("AUXO_DATA", raising=False)
    with pytest.raises(DataError, match=r"a copy of camvid, which no hub has, got neither --data.root nor AUXO_DATA"):
        load_splits(DataConfig(scenario="camvid"), seed=0, task=Segmentation)


@pytest.mark.skipif(not Path(os.environ.get("AUXO_DATA", "")).joinpath("camvid").is_dir(), reason="no real copies")
def test_build__real_set__has_its_published_parts() -> None:
    splits = load_splits(DataConfig(scenario="camvid"), seed=0, task=Segmentation)
    assert [len(split.source) for split in (splits.train, *splits.evaluation())] == [367, 101, 233]
    assert splits.image_shape == (3, 90, 120)
    share = torch.tensor(splits.task().pixel_counts, dtype=torch.float64)
    assert NAMES[int(share.argmax())] == "road"
