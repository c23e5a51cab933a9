"""The primary measure by group of images, read from what runs recorded of their parts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from auxo.comparison.declaration import ELSEWHERE, PREFIX, Contrast
from auxo.comparison.groups import GroupedDeltas
from auxo.comparison.results import Result
from auxo.errors import ConfigError
from auxo.runs.results import EvaluationRow
from auxo.tasks import Part

_ROUNDING = 1e-6  # of a percent: that groups add up to the whole set


class _Column(NamedTuple):
    """Differences on one test set: shape ``(seeds, groups)``, and the share of each group's images."""

    values: Float[np.ndarray, "seeds groups"]
    shares: Float[np.ndarray, " groups"]


class GroupedValues:
    """What every run achieved on each group of images.

    Args:
        results: of the runs.
        group: column of the images; ``None`` for none, so that nothing is ever found.

    Raises:
        ConfigError: no test set has the column.
    """

    def __init__(self, results: Sequence[Result], group: str | None) -> None:
        self._rows = {
            (result.method, result.seed, split): row for result in results for split, row in result.rows.items()
        }
        self._group = group
        self._notes: dict[str, None] = {}
        if group is not None and results and not any(group in row.parts for row in self._rows.values()):
            known = dict.fromkeys(name for row in self._rows.values() for name in row.parts if name != "class")
            got = f"{group!r}; the sets have {', '.join(known) or 'none'}"
            raise ConfigError("a further column of the test images", got, "name one that their file has")

    @property
    def notes(self) -> tuple[str, ...]:
        """What was asked for and is not grouped, each a sentence."""
        return tuple(self._notes)

    def find(self, contrast: Contrast, measure: str, split: str, seeds: Sequence[int]) -> GroupedDeltas | None:
        """Return the differences of a contrast by group, or ``None`` where its images are taken as they are.

        The mean elsewhere is that of all its sets, those without groups taken as they are.

        Args:
            contrast: of the methods.
            measure: name of the measure.
            split: the test set, or the mean elsewhere.
            seeds: of the pairs.
        """
        if self._group is None:
            return None
        names = dict.fromkeys(name for _, _, name in self._rows)
        splits = [name for name in names if name.startswith(PREFIX)] if split == ELSEWHERE else [split]
        found = {name: self._find_groups(contrast, measure, name, seeds) for name in splits}
        if not any(found.values()):
            return None
        columns = [each or self._take_whole(contrast, measure, name, seeds) for name, each in found.items()]
        return GroupedDeltas(
            np.concatenate([column.values for column in columns], axis=1),
            np.concatenate([column.shares for column in columns]) / len(columns),
            np.repeat(np.arange(len(columns)), [len(column.shares) for column in columns]),
        )

    def _find_groups(self, contrast: Contrast, measure: str, split: str, seeds: Sequence[int]) -> _Column | None:
        """Return the differences by group on one set, or ``None`` with a note on why there are none."""
        pairs = [[self._rows[name, seed, split] for seed in seeds] for name in (contrast.method, contrast.baseline)]
        rows = [row for own in pairs for row in own]
        obstacle = _find_obstacle(rows, str(self._group), measure, split)
        if obstacle is not None:
            self._notes[obstacle] = None
            return None
        parts = [_list_parts(row, str(self._group)) for row in rows]
        of_method, of_baseline = np.split(_list_values(rows, parts), 2)
        return _Column(of_method - of_baseline, _share_images(parts[0]))

    def _take_whole(self, contrast: Contrast, measure: str, split: str, seeds: Sequence[int]) -> _Column:
        """Return the differences on one set as those of one group."""
        of_method, of_baseline = (
            np.array([self._rows[name, seed, split].measures[measure].shown for seed in seeds])
            for name in (contrast.method, contrast.baseline)
        )
        return _Column((of_method - of_baseline)[:, None], np.ones(1))


def _find_obstacle(rows: Sequence[EvaluationRow], group: str, measure: str, split: str) -> str | None:
    """Return why the differences of some rows on a set are not known by group, or ``None`` if they are."""
    as_they_are = "its images are taken as they are"
    if any(group not in row.parts for row in rows):
        return f"{split} has no column {group}: {as_they_are}"
    if any(row.primary != measure for row in rows):
        return f"groups are known of the primary measure alone: for {measure}, images are taken as they are"
    parts = [_list_parts(row, group) for row in rows]
    if any({name: part.n for name, part in own.items()} != {k: v.n for k, v in parts[0].items()} for own in parts):
        return f"{split} has other groups under another seed: {as_they_are}"
    if len(parts[0]) < 2:
        return f"{split} is one group by {group}: {as_they_are}"
    wholes = np.array([row.main.shown for row in rows])
    if np.abs(_list_values(rows, parts) @ _share_images(parts[0]) - wholes).max() > _ROUNDING:
        return f"{measure} is no mean over images: for {split}, images are taken as they are"
    return None


def _list_values(
    rows: Sequence[EvaluationRow], parts: Sequence[Mapping[str, Part]]
) -> Float[np.ndarray, "rows groups"]:
    """Return the primary measure of every row on every group."""
    pairs = zip(rows, parts, strict=True)
    return np.array([[row.main._replace(value=part.value or 0.0).shown for part in own.values()] for row, own in pairs])


def _share_images(parts: Mapping[str, Part]) -> Float[np.ndarray, " groups"]:
    """Return the share of each group in all images."""
    counts = np.array([part.n for part in parts.values()])
    shares: np.ndarray = counts / counts.sum()
    return shares


def _list_parts(row: EvaluationRow, group: str) -> Mapping[str, Part]:
    """Return the groups that have images, by name."""
    return {name: part for name, part in sorted(row.parts[group].items()) if part.n}
