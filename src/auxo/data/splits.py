"""Splits: which images train, choose and judge; seeded, stratified and checked to be disjoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch

from auxo.data.columns import HIDDEN, find_names, hidden_name
from auxo.data.digests import SplitDigests
from auxo.data.sources import AbstractSource, comparable_hashes
from auxo.errors import DataError
from auxo.tasks import AbstractTask, Classification, Target


@dataclass(frozen=True)
class TrainSplit:
    """Images that the weights are fitted to."""

    source: AbstractSource

    @property
    def name(self) -> str:
        """``train``."""
        return "train"


@dataclass(frozen=True)
class MetaSplit:
    """Training images set apart for an outer objective."""

    source: AbstractSource

    @property
    def name(self) -> str:
        """``meta``."""
        return "meta"


@dataclass(frozen=True)
class UnlabelledSplit:
    """Images that train without the task's targets; those of the training split may be among them."""

    source: AbstractSource

    @property
    def name(self) -> str:
        """``unlabelled``."""
        return "unlabelled"


@dataclass(frozen=True)
class ValSplit:
    """Images that choose the checkpoint."""

    source: AbstractSource

    @property
    def name(self) -> str:
        """``val``."""
        return "val"


@dataclass(frozen=True)
class TestSplit:
    """Images that judge the chosen checkpoint and decide nothing."""

    __test__ = False  # pytest takes classes called Test* for tests
    source: AbstractSource

    @property
    def name(self) -> str:
        """``test``."""
        return "test"


@dataclass(frozen=True)
class OODSplit:
    """Images from elsewhere, out of the training distribution, that judge and decide nothing."""

    source: AbstractSource

    @property
    def name(self) -> str:
        """``ood/`` and the source's name."""
        return f"ood/{self.source.name}"


EvaluationSplit: TypeAlias = ValSplit | TestSplit | OODSplit


@dataclass(frozen=True)
class Splits:
    """All images of a run.

    Args:
        train: fits the weights.
        val: chooses the checkpoint.
        test: judges, or ``None``.
        meta: fits what an outer objective learns, or ``None``.
        ood: judge on data from elsewhere; any number.
        unlabelled: trains without the task's targets, or ``None``.
        task_kind: what is predicted.
        learned: further columns that are learned, whose values mean the same in every split.

    Raises:
        DataError: two sets differ in what the numbers of a target stand for, such as their classes, or in the shape of
            their images; or a target of the unlabelled images is not hidden.
    """

    train: TrainSplit
    val: ValSplit
    test: TestSplit | None
    meta: MetaSplit | None = None
    ood: tuple[OODSplit, ...] = ()
    unlabelled: UnlabelledSplit | None = None
    task_kind: type[AbstractTask] = Classification
    learned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for split in self.evaluation():
            self._check_agreement(split.source)
        if self.meta is not None:
            self._check_agreement(self.meta.source)
        if self.unlabelled is not None:
            _check_shape(self.train.source, self.unlabelled.source)
            self._check_hidden(self.unlabelled.source)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the sets, such as how many images were left out."""
        splits = (self.train, self.meta, self.unlabelled, *self.evaluation())
        notes = [note for split in splits if split is not None for note in split.source.notes]
        return tuple(dict.fromkeys([*notes, *self.task().notes]))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(channels, height, width)`` of every image."""
        return self.train.source.image_shape

    @property
    def was_resized(self) -> bool:
        """Whether training images were brought to another size."""
        return self.train.source.fit is not None

    def evaluation(self) -> Iterator[EvaluationSplit]:
        """Yield the splits to be measured: val, test if there is one, then those from elsewhere in order."""
        yield self.val
        if self.test is not None:
            yield self.test
        yield from self.ood

    def digests(self) -> SplitDigests:
        """Return a digest of each split that a model is made from: of its images, and of what is learned of them.

        Those are train, meta, unlabelled and val. The others decide nothing and are disjoint from these; their digests
        are apart, in the attribute ``judged``. Whether images are in memory or stream does not count.
        """
        used = (self.train, self.meta, self.unlabelled, self.val)
        learned, kept = self.learned_targets, self.kept_hidden
        names = {
            split.name: (split.source, (*learned, *kept) if split is self.unlabelled else learned)
            for split in used
            if split is not None
        }
        judges = [split for split in self.evaluation() if split is not self.val]
        return SplitDigests(names, {split.name: (split.source, learned) for split in judges})

    def task(self) -> AbstractTask:
        """Return what is to be predicted, and from what."""
        return self.task_kind.from_source(self.train.source)

    @property
    def learned_targets(self) -> tuple[str, ...]:
        """Names of the task's targets and of the further columns that are learned."""
        return (*(target.name for target in self.task().targets), *self.learned)

    @property
    def kept_hidden(self) -> tuple[str, ...]:
        """What the unlabelled images still have of the task's hidden targets, under the names of ``hidden_name``."""
        if self.unlabelled is None:
            return ()
        names = (hidden_name(target.name) for target in self.task().targets)
        return tuple(name for name in names if name in self.unlabelled.source.vocabulary)

    def columns(self) -> dict[str, Target]:
        """Return the further columns that are learned, by name, as the training images have them."""
        vocabulary, places = self.train.source.vocabulary, self.train.source.places
        return {name: Target(name, vocabulary[name], name in places, places.get(name, HIDDEN)) for name in self.learned}

    def places(self) -> dict[str, int]:
        """Return all that is learned and has places, each with its value to ignore."""
        learned = {name: target.ignore for name, target in self.columns().items() if target.has_places}
        kept = {} if self.unlabelled is None else self.unlabelled.source.places
        hidden = {name: kept[name] for name in self.kept_hidden if name in kept}
        return {**self.task().places, **learned, **hidden}

    def _check_hidden(self, unlabelled: AbstractSource) -> None:
        """Refuse unlabelled images whose targets can be read."""
        shown = [target.name for target in self.task().targets if unlabelled.vocabulary.get(target.name)]
        if shown:
            got, fix = f"{', '.join(shown)} in '{unlabelled.name}'", "give source.without_targets(names, name)"
            raise DataError("an unlabelled split without the task's targets", got, fix)

    def _check_agreement(self, other: AbstractSource) -> None:
        """Refuse a set whose numbers stand for other things than the training set's, or of another image shape."""
        train = self.train.source
        for name in self.learned_targets:
            own, others = (find_names(source.vocabulary, name, source=source.name) for source in (train, other))
            if own != others:
                expected = f"the values of '{name}' of '{train.name}', {list(own)}"
                fix = "give both the same values in the same order"
                raise DataError(expected, f"{list(others)} in '{other.name}'", fix)
        _check_shape(train, other)


def check_disjoint(
    splits: Splits, on_overlap: Literal["error", "drop"] = "error", *, has_named_blocks: bool = False
) -> Splits:
    """Return the splits, sure that no image is in two of train, meta, val and test, nor in one of them and in ood.

    The same holds for the unlabelled images, but for those that also train. Sets from elsewhere may share images with
    each other. Contents are compared, not names, by :func:`auxo.data.sources.comparable_hashes`.

    Args:
        splits: to be checked.
        on_overlap: "error" stops; "drop" removes the copy from whichever split comes first of train, unlabelled, meta,
            val, test, ood.
        has_named_blocks: whether blocks of one name are one block in whichever of train, unlabelled, meta, val and test
            they are; then no block may be in two of these either.

    Raises:
        DataError: there is an overlap and ``on_overlap`` is "error" (the message counts the copies and names the
            first two), or dropping leaves a split empty.
    """
    hashes = comparable_hashes([split.source for split in list_splits(splits)])
    splits = _separate_splits(splits, hashes, on_overlap, what="image", fix="remove the copies")
    if not has_named_blocks:
        return splits
    named = [() if isinstance(each, OODSplit) else _name_blocks(each.source) for each in list_splits(splits)]
    fix = "put each block into one, or name different blocks differently"
    return _separate_splits(splits, named, on_overlap, what=f"block of '{splits.train.source.blocks}'", fix=fix)


def list_splits(splits: Splits) -> list[TrainSplit | UnlabelledSplit | MetaSplit | EvaluationSplit]:
    """Return all splits; images of two are taken out of the earlier one."""
    named = (splits.train, splits.unlabelled, splits.meta, splits.val, splits.test)
    return [*(split for split in named if split is not None), *splits.ood]


def _name_blocks(source: AbstractSource) -> list[str]:
    """Return the name of every image's block; none where the source has no blocks."""
    column = source.columns.get(source.blocks)
    return [] if column is None or not column.names else [column.names[value] for value in column.values.tolist()]


def _separate_splits(
    splits: Splits, keys: Sequence[Sequence[str]], on_overlap: Literal["error", "drop"], *, what: str, fix: str
) -> Splits:
    """Return splits of which no two have images of one key, but for train and unlabelled, and sets from elsewhere.

    Args:
        splits: to be separated.
        keys: of the images of each split, or none of them, in the order of :func:`list_splits`.
        on_overlap: see :func:`check_disjoint`.
        what: two images of one key are, for the message.
        fix: what the user can do.
    """
    everyone = list_splits(splits)
    sources = {split.name: split.source for split in everyone}
    for i, split in enumerate(everyone[: len(everyone) - len(splits.ood)]):
        first = i + 1 + int(split is splits.train and splits.unlabelled is not None)
        later = {key: (j, k) for j in range(first, len(everyone)) for k, key in enumerate(keys[j])}
        copies = [(k, later[key]) for k, key in enumerate(keys[i]) if key in later]
        if not copies:
            continue
        index, (j, k) = copies[0]
        if on_overlap == "error":
            raise DataError(
                f"no {what} in two splits, {split.name} and {everyone[j].name}",
                f"{len(copies)} of {split.name} also elsewhere, first {split.source.describe(index)} = "
                f"{everyone[j].source.describe(k)}",
                f"{fix}, or pass --data.on-overlap drop",
            )
        sources[split.name] = _leave_out(split.source, {place for place, _ in copies}, split.name)
    return replace(
        splits,
        train=TrainSplit(sources["train"]),
        meta=MetaSplit(sources["meta"]) if splits.meta else None,
        val=ValSplit(sources["val"]),
        test=TestSplit(sources["test"]) if splits.test else None,
        unlabelled=UnlabelledSplit(sources["unlabelled"]) if splits.unlabelled else None,
    )


def _leave_out(source: AbstractSource, places: set[int], split_name: str) -> AbstractSource:
    """Return the source without the images at ``places``."""
    rest = [i for i in range(len(source)) if i not in places]
    if not rest:
        expected = f"images in {split_name} that no other split has"
        raise DataError(expected, "copies only", "give other images, or remove the copies")
    return source.subset(torch.tensor(rest), source.name)


def _check_shape(train: AbstractSource, other: AbstractSource) -> None:
    """Refuse a set whose image shape is not the training set's."""
    if other.image_shape != train.image_shape:
        raise DataError(
            f"images of {train.image_shape[2]}x{train.image_shape[1]} pixels and {train.image_shape[0]} channels, "
            f"as in '{train.name}'",
            f"{other.image_shape[2]}x{other.image_shape[1]} and {other.image_shape[0]} in '{other.name}'",
            "pass --data.image-size N to resize them all",
        )
