"""Splits: which images train, choose and judge; seeded, stratified and checked to be disjoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.data.columns import HIDDEN, find_names, hidden_name
from auxo.data.sources import AbstractSource, digest_learned, pixel_hashes
from auxo.errors import DataError
from auxo.random import named_generator
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

    def evaluation(self) -> Iterator[EvaluationSplit]:
        """Yield the splits to be measured: val, test if there is one, then those from elsewhere in order."""
        yield self.val
        if self.test is not None:
            yield self.test
        yield from self.ood

    def digests(self) -> dict[str, str]:
        """Return a digest of each split that a model is made from: of its images, and of what is learned of them.

        Those are train, meta, unlabelled and val. The others decide nothing and are disjoint from these.
        """
        used = (self.train, self.meta, self.unlabelled, self.val)
        learned, kept = self.learned_targets, self.kept_hidden
        return {
            split.name: digest_learned(split.source, (*learned, *kept) if split is self.unlabelled else learned)
            for split in used
            if split is not None
        }

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


def stratified_indices(strata: Int[Tensor, " n"], sizes: Sequence[int], *, seed: int) -> list[Int[Tensor, " part"]]:
    """Draw disjoint parts of given sizes, each with the proportions of the whole to within one image.

    Args:
        strata: shape ``(n,)``; int64 number of each image, such as its class, whose proportions are kept.
        sizes: number of images of each part, >= 0; what is left over belongs to no part.
        seed: of the draw.

    Returns:
        One sorted int64 tensor of positions for each size.

    Raises:
        DataError: the parts need more images than there are, or a part is not empty and yet smaller than the number
            of strata.

    Source: the counts are a controlled rounding of the proportional ones (Cox, A constructive procedure for unbiased
    controlled rounding, JASA 1987), found by filling row after row as in Ryser's construction of 0-1 matrices.

    Example:
        >>> part, = stratified_indices(torch.tensor([0, 0, 0, 0, 1, 1]), [3], seed=0)
        >>> torch.tensor([0, 0, 0, 0, 1, 1])[part]
        tensor([0, 0, 1])
    """
    _, classes = strata.unique(return_inverse=True)
    counts = classes.bincount()
    for size in sizes:
        if size < 0 or 0 < size < len(counts):
            raise DataError(
                f"parts of at least {len(counts)} images, one per class",
                f"a part of {size} out of {len(strata)} images",
                "raise the fraction or number asked for",
            )
    rest = len(strata) - sum(sizes)
    if rest < 0:
        raise DataError(
            f"parts of at most {len(strata)} images together",
            f"{sum(sizes)} asked for ({' + '.join(map(str, sizes))})",
            "give more images, or ask for fewer",
        )
    if not len(strata):
        return [torch.empty(0, dtype=torch.int64) for _ in sizes]
    bounds = _round_controlled(torch.tensor([*sizes, rest]), counts).cumsum(0)
    shuffled = torch.randperm(len(strata), generator=named_generator(seed, "stratified"))
    ordered = shuffled[classes[shuffled].argsort(stable=True)]
    place_in_class = torch.arange(len(strata)) - (counts.cumsum(0) - counts)[classes[ordered]]
    part = (place_in_class.unsqueeze(0) >= bounds[:, classes[ordered]]).sum(0)
    return [ordered[part == k].sort().values for k in range(len(sizes))]


def _round_controlled(sizes: Int[Tensor, " parts"], counts: Int[Tensor, " classes"]) -> Int[Tensor, "parts classes"]:
    """Round ``sizes * counts / n`` to whole numbers that keep both margins, each moved by at most one."""
    exact = sizes.unsqueeze(1) * counts.unsqueeze(0)
    total = int(counts.sum())
    rounded, fraction = exact // total, exact % total
    missing = counts - rounded.sum(0)
    for k, size in enumerate(sizes.tolist()):
        shortfall = size - int(rounded[k].sum())
        chosen = (missing * total + fraction[k]).argsort(descending=True, stable=True)[:shortfall]
        rounded[k, chosen] += 1
        missing[chosen] -= 1
    return rounded


def stratified_parts(
    source: AbstractSource,
    sizes: Sequence[int],
    names: Sequence[str],
    *,
    seed: int,
    task: type[AbstractTask],
) -> list[AbstractSource]:
    """Cut a source into parts with :func:`stratified_indices`, by whatever the task stratifies by.

    Args:
        source: what to cut.
        sizes: number of images of each part; the rest is left out.
        names: name of each part.
        seed: of the draw.
        task: says what proportions every part keeps.

    Raises:
        DataError: the source is too small for the parts.
    """
    parts = stratified_positions(source, sizes, seed=seed, task=task)
    return [source.subset(part, name) for part, name in zip(parts, names, strict=True)]


def stratified_positions(
    source: AbstractSource, sizes: Sequence[int], *, seed: int, task: type[AbstractTask]
) -> list[Int[Tensor, " part"]]:
    """Return where the parts of :func:`stratified_parts` are in the source: sorted int64 positions of each."""
    strata = task.strata(source)
    numbers = torch.zeros(len(source), dtype=torch.int64) if strata is None else strata.values
    return stratified_indices(numbers, sizes, seed=seed)


def subsample(source: AbstractSource, num_images: int | None, *, seed: int, task: type[AbstractTask]) -> AbstractSource:
    """Return a stratified subsample under the same name; ``None`` and the full number return the source itself.

    Every builder of splits calls this on its training images with ``DataConfig.num_train`` (or, where that is
    ``None``, its own number) before it returns them, so that the number is applied exactly once.

    Args:
        source: training images.
        num_images: how many to keep.
        seed: of the draw.
        task: says what proportions are kept.

    Raises:
        DataError: more images are asked for than there are, or fewer than classes.
    """
    if num_images is None or num_images == len(source):
        return source
    if num_images > len(source):
        expected = f"at most {len(source)} training images from '{source.name}'"
        raise DataError(expected, f"data.num-train {num_images}", "ask for fewer, or leave the option out")
    return stratified_parts(source, [num_images], [source.name], seed=seed, task=task)[0]


def check_disjoint(splits: Splits, on_overlap: Literal["error", "drop"] = "error") -> Splits:
    """Return the splits, sure that no image is in two of train, meta, val and test, nor in one of them and in ood.

    The same holds for the unlabelled images, but for those that also train. Sets from elsewhere may share images with
    each other. Contents are compared, not names: pixels in memory or when some stream, encoded bytes when all do.

    Args:
        splits: to be checked.
        on_overlap: "error" stops; "drop" removes the copy from whichever split comes first of train, unlabelled, meta,
            val, test, ood.

    Raises:
        DataError: there is an overlap and ``on_overlap`` is "error" (the message counts the copies and names the
            first two), or dropping leaves a split empty.
    """
    named = [s for s in (splits.train, splits.unlabelled, splits.meta, splits.val, splits.test) if s is not None]
    everyone = [*named, *splits.ood]
    is_one_kind = len({type(s.source) for s in everyone}) == 1
    hashes = [s.source.content_hashes() if is_one_kind else pixel_hashes(s.source) for s in everyone]
    sources = {split.name: split.source for split in named}
    for i, split in enumerate(named):
        first = i + 1 + int(split is splits.train and splits.unlabelled is not None)
        later = {digest: (j, k) for j in range(first, len(everyone)) for k, digest in enumerate(hashes[j])}
        copies = [(k, later[digest]) for k, digest in enumerate(hashes[i]) if digest in later]
        if not copies:
            continue
        index, (j, k) = copies[0]
        if on_overlap == "error":
            raise DataError(
                f"no image in two splits, {split.name} and {everyone[j].name}",
                f"{len(copies)} of {split.name} also elsewhere, first {split.source.describe(index)} = "
                f"{everyone[j].source.describe(k)}",
                "remove the copies, or pass --data.on-overlap drop",
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
