"""Well-known sets by name: a copy under the user's root, or the Hugging Face hub."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import torch

from auxo.data.config import DataConfig
from auxo.data.cuts import cut_positions
from auxo.data.readers import read_streaming
from auxo.data.sources import AbstractSource
from auxo.data.streaming import StreamingSource
from auxo.errors import DataError
from auxo.files.moved import suggest_moved
from auxo.tasks import AbstractTask
from auxo.types import LABEL, Column


@dataclass(frozen=True)
class Level:
    """A coarser division of the classes of a set.

    Args:
        names: of its classes.
        of_class: for each class of the set, the number of its class here.
    """

    names: tuple[str, ...]
    of_class: tuple[int, ...]

    def divide(self, classes: Column) -> Column:
        """Return the classes here of images whose classes in the set are known; -1 stays -1."""
        numbers = torch.tensor([*self.of_class, -1])
        return Column(numbers[classes.values], self.names)


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """Where a well-known set is found.

    Args:
        name: its folder under the root, with columns ``image`` and ``label``.
        hub: its ``owner/name[/folder][@revision]`` on the hub.
        hub_image_column: column of the images there.
        hub_label_column: column there of what is called ``label`` here.
        hub_parts: what the training and the test part are called there.
        levels: coarser divisions by name; each can be a further column, or with ``data.label_column`` the label.
        finest: the name of the set's own classes among them.
    """

    name: str
    hub: str
    hub_image_column: str = "image"
    hub_label_column: str = "label"
    hub_parts: tuple[str, str] = ("train", "test")
    levels: Mapping[str, Level] = field(default_factory=dict)
    finest: str = ""

    def read(
        self, part: str, config: DataConfig, *, image_size: int | None, like: AbstractSource | None = None
    ) -> StreamingSource:
        """Return one part, not decoded yet, from ``<root>/<name>/<part>.parquet`` if there is a root, else the hub.

        Args:
            part: ``train`` or ``test``.
            config: gives the root, and further columns to read.
            image_size: side in pixels to resize and crop to; ``None`` keeps the images as they are.
            like: the training set, whose classes this part has, too; ``None`` for the training set.

        Raises:
            DataError: the copy is not there or cannot be used, or the hub cannot be reached.
        """
        derived = [name for name in config.columns if name in (*self.levels, self.finest)]
        label = config.label_column if config.label_column in self.levels else ""
        columns = tuple(name for name in config.columns if name not in derived)
        config = replace(config, image_column="image", label_column="label", image_size=image_size, columns=columns)
        vocabulary = {} if like is None or label else {LABEL: like.vocabulary[LABEL]}
        source = self._read_part(part, config, vocabulary)
        classes = source.columns[LABEL]
        made = {name: self.levels[name].divide(classes) if name in self.levels else classes for name in derived}
        made |= {LABEL: self.levels[label].divide(classes)} if label else {}
        return cast("StreamingSource", source.with_columns({**source.columns, **made})) if made else source

    def _read_part(self, part: str, config: DataConfig, vocabulary: Mapping[str, tuple[str, ...]]) -> StreamingSource:
        """Return one part with the columns that it has itself."""
        root = config.data_root
        if root is not None:
            path = find_copy(self.name, part, root, other=", or give neither to use the hub")
            return read_streaming(str(path), config, vocabulary=vocabulary)
        config = replace(config, image_column=self.hub_image_column, label_column=self.hub_label_column)
        hub_part = self.hub_parts[part == "test"]
        try:
            return read_streaming(f"hf://{self.hub}:{hub_part}", config, vocabulary=vocabulary)
        except DataError as error:
            if error.__cause__ is None:  # the set was loaded, and what is wrong is in it
                raise
            fix = f"check the network, or name a folder with {self.name}/{part}.parquet by --data.root or AUXO_DATA"
            raise DataError(error.expected, error.got, fix) from error


def find_copy(name: str, part: str, root: Path, *, other: str = "") -> Path:
    """Return ``<root>/<name>/<part>.parquet``.

    Args:
        name: of the set.
        part: of it.
        root: folder of real copies.
        other: what else can be done where it is not there, for the message.

    Raises:
        DataError: it is not there.
    """
    path = root / name / f"{part}.parquet"
    if not path.is_file():
        fix = f"{suggest_moved(str(root))}put it there, name another folder by --data.root or AUXO_DATA{other}"
        raise DataError(f"a copy of {name} under the root", f"no file {path}", fix)
    return path


def cut_train_and_val(
    source: StreamingSource, name: str, *, num_train: int | None, num_val: int, seed: int, task: type[AbstractTask]
) -> tuple[StreamingSource, StreamingSource]:
    """Cut stratified validation and training images, ``<name>-val`` and ``<name>-train``, off a training part.

    Args:
        source: the training part.
        name: of the set.
        num_train: how many to train on; ``None`` means all that do not validate. The images of a smaller number are
            among those of a larger one, to within one image a class.
        num_val: how many to validate on.
        seed: of the draw.
        task: says what proportions both parts keep.

    Returns:
        Training and validation images, in that order.

    Raises:
        DataError: there are not that many images, or fewer are asked for than there are classes.
    """
    most = len(source) - num_val
    if num_train is None:
        num_train = most
    if num_train > most:
        got = f"{num_train}, with {num_val} of its {len(source)} images for validation"
        raise DataError(f"data.num-train of at most {most} for {name}", got, "ask for fewer, or leave the option out")
    val, train = cut_positions(source, [num_val, num_train], seed=seed, task=task)
    return source.subset(train, f"{name}-train"), source.subset(val, f"{name}-val")
