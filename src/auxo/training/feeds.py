"""The batches that a stage's steps ask for: each fetched once, shown in every view that wants it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

from torch import Tensor

from auxo.data import InputPipeline, Loader, Shuffled, Splits
from auxo.data.mixing import Mixing
from auxo.errors import ConfigError
from auxo.interfaces import AbstractOrder, MethodConfig, Prepared, StepPlan, View
from auxo.random import Draws, derive_seed, named_generator
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.types import Batch, Batches

_HINTS = {
    "meta": "pass --data.meta-fraction 0.1",
    "unlabelled": "pass --data.num-labelled N to hide the targets of the others, or --data.unlabelled SET",
}


class _Stream(NamedTuple):
    """What is fetched once, whichever views show it.

    Args:
        split: see :class:`auxo.interfaces.View`.
        batch_size: images of a batch, over all processes.
        order: what a pass shows.
        name: of the random numbers of the order.
        images: whether batches have images.
    """

    split: str
    batch_size: int
    order: AbstractOrder
    name: str
    images: bool

    @classmethod
    def of(cls, view: View, batch_size: int) -> "_Stream":
        """Return what a view shows in a stage of this batch size."""
        return cls(view.split, view.count_images(batch_size), view.order or Shuffled(), view.stream, view.images)


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a stream's batches over the steps ``start`` to ``stop - 1``, once where one follows itself.

    Args:
        config: plans the steps.
        passes: see :attr:`Feeds.passes`.
        views: those that show the stream.
        start: the first step.
        stop: exclusive.
    """

    config: MethodConfig
    passes: Mapping[str, int]
    views: tuple[str, ...]
    start: int
    stop: int

    def __iter__(self) -> Iterator[int]:
        for number, _ in groupby(self._list_wanted()):
            yield number

    def _list_wanted(self) -> Iterator[int]:
        for step in range(self.start, self.stop):
            batches = self.config.plan(step, self.passes).batches
            yield from (batches[name] for name in self.views if name in batches)


class _Kept(NamedTuple):
    """The latest batch of a stream or a view, under its number."""

    number: int
    batch: Batch


class Feeds:
    """Fetches, moves to the device, augments and normalises what each step reads.

    A batch that several steps in a row ask for is fetched and augmented once.

    Args:
        config: of the run.
        stage: whose method plans the steps.
        splits: the data.
        pipeline: turns uint8 batches into network inputs; on the device.
        runtime: device and processes.
        seed: of the stage.

    Raises:
        ConfigError: a split is missing, an augmentation is unknown or does not suit the images, or a batch would not
            reach every process.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        stage: StageConfig,
        splits: Splits,
        pipeline: InputPipeline,
        runtime: Runtime,
        *,
        seed: int,
    ) -> None:
        self._config, self._stage, self._pipeline, self._runtime, self._seed = config, stage, pipeline, runtime, seed
        self._views = stage.method.required_views()
        for view in self._views.values():
            pipeline.checked(view.augment)
        self._mixing = Mixing(stage.tuning.mixup, stage.tuning.cutmix)
        if stage.tuning.mixes and runtime.num_processes > 1:  # a pair could be in two of them
            got, fix = (
                f"{runtime.num_processes}",
                "leave --tuning.mixup and --tuning.cutmix out, or train in one process",
            )
            raise ConfigError("one process with tuning.mixup or tuning.cutmix, which mix images of a batch", got, fix)
        self._streams = {name: _Stream.of(view, stage.batch_size) for name, view in self._views.items()}
        self._loaders = {stream: self._build_loader(stream, splits) for stream in dict.fromkeys(self._streams.values())}
        self._prepared: Mapping[str, Mapping[str, Tensor]] = {}
        self._any_images = "train" if splits.unlabelled is None else "unlabelled"
        self._batches: dict[_Stream, Iterator[Batch]] = {}
        self._fetched: dict[_Stream, _Kept] = {}
        self._shown: dict[str, _Kept] = {}

    def add_targets(self, prepared: Prepared) -> None:
        """Show what a method knows of each image beside what the data say; maps move as the images do."""
        self._prepared = prepared.targets
        self._pipeline = self._pipeline.with_places(prepared.fills)

    @property
    def passes(self) -> dict[str, int]:
        """Batches of one pass over the images of each view."""
        return {name: self._loaders[stream].steps_per_epoch for name, stream in self._streams.items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Images of a full batch of each view, over all processes."""
        return {name: stream.batch_size for name, stream in self._streams.items()}

    def plan(self, step: int) -> StepPlan:
        """Return what a step of the stage reads and moves."""
        return self._stage.method.plan(step, self.passes)

    def find_lone_image(self, num_steps: int) -> int | None:
        """Return the first of so many steps in which a process reads a single image of a view, if there is one."""
        lone = [name for name, stream in self._streams.items() if self._loaders[stream].smallest_part == 1]
        passes = self.passes
        for step in range(num_steps) if lone else ():
            batches = self.plan(step).batches
            if any(name in batches and batches[name] % passes[name] == passes[name] - 1 for name in lone):
                return step
        return None

    def open(self, start: int, stop: int) -> None:
        """Begin to fetch what the steps ``start`` to ``stop - 1`` ask for."""
        shown: dict[_Stream, tuple[str, ...]] = {}
        for name, stream in self._streams.items():
            shown[stream] = (*shown.get(stream, ()), name)
        method, passes = self._stage.method, self.passes
        self._batches = {
            stream: self._loaders[stream].batches(_Numbers(method, passes, views, start, stop))
            for stream, views in shown.items()
        }
        self._fetched.clear()
        self._shown.clear()

    def read(self, plan: StepPlan) -> tuple[Batches, int]:
        """Return the batches of the next step by view, on the device, and how many new images they show.

        Images of meta views do not count, and views without images show none.
        """
        images = 0
        for name, number in plan.batches.items():
            view, stream = self._views[name], self._streams[name]
            if not _has_number(self._fetched.get(stream), number):
                self._fetched[stream] = _Kept(number, self._on_device(next(self._batches[stream]), stream.split))
                images += self._fetched[stream].batch.joined_size if view.images and view.split != "meta" else 0
            if not _has_number(self._shown.get(name), number):
                seen = self._fetched[stream].batch
                if view.images:
                    seed = derive_seed(self._seed, "augment", name, number)  # every view has draws of its own
                    seen = self._pipeline(seen, seed=seed, augment=view.augment)
                    if self._stage.tuning.mixes and view.split == "train":
                        generator = named_generator(self._seed, "mix", name, number)
                        seen = self._mixing.mix(seen, Draws(generator))
                self._shown[name] = _Kept(number, seen)
        return {name: self._shown[name].batch for name in plan.batches}, images

    def _build_loader(self, stream: _Stream, splits: Splits) -> Loader:
        """Return the loader of a split's images; of images, whatever they are, the task's targets are hidden."""
        train, unlabelled = splits.train, splits.unlabelled
        known = {"train": train, "meta": splits.meta, "unlabelled": unlabelled, "images": unlabelled or train}
        split = known[stream.split]
        if split is None:
            article = "an" if stream.split == "unlabelled" else "a"
            raise ConfigError(f"{article} {stream.split} split for this method", "none", _HINTS[stream.split])
        hides = stream.split == "images"
        return Loader(
            split.source,
            batch_size=stream.batch_size,
            seed=derive_seed(self._seed, "loader", stream.split, *([stream.name] if stream.name else [])),
            rank=self._runtime.rank,
            num_processes=self._runtime.num_processes,
            drop_last=self._stage.drop_last,
            workers=self._config.data.workers,
            pin_memory=self._runtime.device.type == "cuda",
            order=stream.order,
            images=stream.images,
            hidden={target.name: target.ignore for target in splits.task().targets} if hides else None,
        )

    def _on_device(self, batch: Batch, split: str) -> Batch:
        """Return the batch on the device, with what the method has prepared of its images."""
        known = self._prepared.get(self._any_images if split == "images" else split, {})
        found = {**batch.targets, **{name: values[batch.indices] for name, values in known.items()}}
        targets = {name: values.to(self._runtime.device) for name, values in found.items()}
        return replace(batch, images=self._runtime.to_device(batch.images), targets=targets)


def _has_number(kept: _Kept | None, number: int) -> bool:
    """Return whether what is kept is the batch of this number."""
    return kept is not None and kept.number == number
