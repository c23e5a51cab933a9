"""Further columns of the data that a finished run was made without."""

from collections.abc import Sequence
from dataclasses import replace

from auxo.data import DataConfig
from auxo.data.config import RegroupedDataConfig


def name_columns(data: DataConfig, words: Sequence[str]) -> tuple[str, ...]:
    """Return the names of further columns, each once, as the command line gives them.

    Raises:
        ConfigError: one is empty, there twice, or the labels.
    """
    return replace(data, columns=tuple(words)).columns


def add_columns(data: DataConfig, words: Sequence[str]) -> RegroupedDataConfig:
    """Return options of the data of a run that read further columns as well, and the same images.

    Args:
        data: options of the run.
        words: names of the columns, as the command line gives them.

    Raises:
        ConfigError: see :func:`name_columns`.
    """
    more = tuple(name for name in name_columns(data, words) if name not in data.columns)
    return RegroupedDataConfig(**{**vars(data), "columns": (*data.columns, *more)}, regrouped=more)
