"""The one object that runs a trained model: its outputs, features and measures on a source."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.data import InputPipeline, ordered_batches
from auxo.errors import ConfigError, DataError, NonFiniteError, ShapeError
from auxo.evaluation.images import AnySplit, FeatureCache, ImageReader, to_device
from auxo.evaluation.observe import features_of
from auxo.evaluation.tally import Tally
from auxo.interfaces import AbstractMethod, PretextHead
from auxo.layers.modes import evaluation_mode
from auxo.runs.model import TrainedModel
from auxo.runs.results import METHOD, EvaluationRow
from auxo.runtime import Runtime, naming_memory
from auxo.tasks import ANSWERS_MEASURE, AbstractTask, Scores, Target, measure_answers, part_answers, score_answers
from auxo.types import Batch, Column, Features, Images

_PRETEXT_PASSES = 4
_MEAN = "mean"


class TargetedFeatures(NamedTuple):
    """The features of a split.

    Args:
        features: shape ``(n, dim)``; float64.
        answers: shape ``(n,)``; int64; the task's target.
    """

    features: Float[np.ndarray, "n dim"]
    answers: Int[np.ndarray, " n"]


@contextmanager
def _name_place(head: str, split: str) -> Iterator[None]:
    """Say of which head and split numbers are that are not finite."""
    try:
        yield
    except NonFiniteError as error:
        raise NonFiniteError(f"{error.expected} of {head} on {split}", error.got, error.fix) from error


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Runs a trained method over sources, under one batch size, device and precision.

    The method is in evaluation mode meanwhile and is left as it was: weights, buffers and the mode of every submodule.
    Each process reads its own part of a source, and all return the same.

    Args:
        method: its heads are those of ``head_logits``, its pretexts those of ``pretext_heads``.
        pipeline: normalises a batch on the device; it is called without a seed, so nothing is augmented.
        runtime: device and processes.
        batch_size: images, or pretext inputs, of one forward pass.
        workers: processes that decode a streaming source, >= 0; they live until it is read.
    """

    method: AbstractMethod
    pipeline: InputPipeline
    runtime: Runtime
    batch_size: int
    workers: int = 0

    @classmethod
    def of(cls, model: TrainedModel, *, runtime: Runtime, batch_size: int, workers: int = 0) -> "Reader":
        """Return the reader of a trained model."""
        return cls(
            method=model.method, pipeline=model.pipeline, runtime=runtime, batch_size=batch_size, workers=workers
        )

    @property
    def task(self) -> AbstractTask:
        """What is predicted."""
        return self.method.task

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the task's heads, the one that predicts first, and ``"mean"`` of several; none where none predicts.

        Raises:
            ConfigError: one of several heads is called ``"mean"``.
        """
        names = self.method.head_names
        if len(names) >= 2 and _MEAN in names:
            raise ConfigError("heads of other names than 'mean', their average", "'mean'", "rename that head")
        return (*names, _MEAN) if len(names) >= 2 else names

    @property
    def predicts(self) -> bool:
        """Whether the method has a head for the task; one that prepares a backbone for later stages has none."""
        return bool(self.heads)

    def require_head(self) -> str:
        """Return the name of the head that predicts.

        Raises:
            ConfigError: the method has none.
        """
        if not self.heads:
            fix = "judge a stage that trains one, or the features with auxo evaluate --probe all"
            raise ConfigError("a method with a head that predicts", type(self.method).__name__, fix)
        return self.heads[0]

    def require_answers(self, what: str) -> Target:
        """Return the target of a task with one answer per image, of a fixed number.

        Args:
            what: needs such a task, for the message.

        Raises:
            ConfigError: the task is another.
        """
        target = self.task.targets[0]
        if target.has_places or not target.names:
            fix = f"{what} can only be had of such a task"
            raise ConfigError(f"a task of one class per image for {what}", type(self.task).__name__, fix)
        return target

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Put the method into evaluation mode and build no graph, while the block lasts."""
        use = f"a pass of {self.batch_size} images of {self.task.width}x{self.task.height} pixels"
        with evaluation_mode(self.method), torch.inference_mode(), naming_memory(use, fix="use a smaller batch size"):
            yield

    def blank_image(self) -> Images:
        """Return one black image of the task's size."""
        return self.runtime.to_device(torch.zeros(1, *self.task.image_shape))

    def batches(self, split: AnySplit) -> Iterator[Batch]:
        """Yield this process's part of a split, uint8, on the device; none with fewer images than processes.

        Raises:
            DataError: the split has no image.
        """
        _require_images(split)
        runtime = self.runtime
        for batch in ordered_batches(
            split.source,
            batch_size=self.batch_size,
            rank=runtime.rank,
            num_processes=runtime.num_processes,
            workers=self.workers,
        ):
            yield self.on_device(batch)

    def on_device(self, batch: Batch) -> Batch:
        """Return a batch with its images and targets on the device, uint8."""
        return to_device(batch, self.runtime)

    def images(self, split: AnySplit, *, cache: FeatureCache | None = None) -> ImageReader:
        """Return what the method may ask of the images of a split."""
        return ImageReader(
            self.method,
            split,
            pipeline=self.pipeline,
            runtime=self.runtime,
            batch_size=self.batch_size,
            workers=self.workers,
            cache=cache,
        )

    def normalised(self, batch: Batch) -> Batch:
        """Return a batch of network inputs."""
        normalised: Batch = self.pipeline(batch, seed=None)
        return normalised

    def inputs(self, pixels: UInt8[Tensor, "n channels height width"]) -> Images:
        """Return the network inputs of images of which nothing else is known, on the device."""
        device = self.runtime.device
        unknown = torch.full((len(pixels),), -1, device=device)
        return self.normalised(Batch(self.runtime.to_device(pixels), {}, unknown)).images

    def outputs(self, images: Images) -> dict[str, Tensor]:
        """Return the outputs of the task's heads, and their average if there are two or more.

        Args:
            images: normalised, on the device.

        Raises:
            ConfigError: one of several heads is called ``"mean"``, or they are others than the method says.
        """
        heads = self.heads
        with self.runtime.autocast():
            outputs = dict(self.method.head_logits(images)) if heads else {}
        if tuple(outputs) != self.method.head_names:
            expected = f"the heads of head_names in {type(self.method).__name__}, {', '.join(self.method.head_names)}"
            raise ConfigError(expected, ", ".join(outputs) or "none", "let head_names say what head_logits returns")
        if len(outputs) >= 2:
            wide = [head if head.dtype.itemsize >= 4 else head.float() for head in outputs.values()]
            outputs[_MEAN] = torch.stack(wide).mean(0)
        return outputs

    def scores(self, split: AnySplit) -> dict[str, Scores]:
        """Return the scores of every image under each of the task's heads, in the order of the source.

        Cost: one forward pass over the images.
        """
        return dict(self._score_split(split, {})[0])

    def evaluate(self, split: AnySplit) -> list[EvaluationRow]:
        """Measure every head of the method on a split.

        Returns:
            The task's heads in the method's order, the first being the one that predicts, none where it has none;
            ``"mean"``, the average of their outputs, if there are two or more; then the pretexts, on every variant of
            every image, or of every so many-th one where the variants of all pretexts together are more than four.
            Measures of the method's own stand with the head that predicts, or in a row of their own, ``method``.

        Raises:
            ConfigError: one of several heads is called ``"mean"``, or a measure of the method's own is the task's.
            DataError: the split has no image.
            NonFiniteError: a head's outputs are not all finite.
            ShapeError: a pretext's answers are not classes, so they cannot be measured.

        Cost: one forward pass of the task's heads over the images, and at most four of the pretexts.
        """
        pretexts = self.method.pretext_heads()
        scores, answers = self._score_split(split, pretexts)
        rows = [self.row(split.name, head, kept, split.source.columns) for head, kept in scores.items()]
        for name, kept in answers.items():
            pretext = pretexts[name].pretext
            with _name_place(name, split.name):
                measures = measure_answers(kept)
            del measures["ece"]  # a pretext's confidence is of no use to anybody
            parts = {"answer": part_answers(kept, [str(number) for number in range(pretext.num_outputs)])}
            n = len(kept["right"])
            rows.append(EvaluationRow(split.name, name, "pretext", n, ANSWERS_MEASURE, measures, pretext.chance, parts))
        return self._add_own(rows, split)

    def _add_own(self, rows: list[EvaluationRow], split: AnySplit) -> list[EvaluationRow]:
        """Return the rows of a split with the measures that are the method's own."""
        own = dict(self.method.measures(self.images(split)))
        if not own:
            return rows
        if not self.predicts:
            return [*rows, EvaluationRow(split.name, METHOD, METHOD, len(split.source), next(iter(own)), own)]
        taken = sorted(own.keys() & rows[0].measures.keys())
        if taken:
            fix = "choose another name in measures"
            raise ConfigError("measures of a method's own", f"{taken[0]!r}, which the task has", fix)
        return [replace(rows[0], measures={**rows[0].measures, **own}), *rows[1:]]

    def row(self, split: str, head: str, scores: Scores, columns: Mapping[str, Column]) -> EvaluationRow:
        """Return what the scores of a whole set add up to.

        Args:
            split: its name.
            head: whose scores they are.
            scores: of all its images.
            columns: of its source; the set is grouped by those that are no target.
        """
        targets = {target.name for target in self.task.targets}
        groups = {name: column for name, column in columns.items() if name not in targets and column.names}
        with _name_place(head, split):
            found = self.task.measure(scores, groups)
        n, task = len(next(iter(scores.values()))), self.task
        if task.primary not in found.measures:
            got, fix = ", ".join(found.measures) or "none", f"let its measure return one called {task.primary}"
            raise ConfigError(f"the primary measure {task.primary!r} of {type(task).__name__}", got, fix)
        return EvaluationRow(
            split, head, "task", n, task.primary, found.measures, task.chance, found.parts, found.notes
        )

    def features(self, split: AnySplit) -> TargetedFeatures:
        """Return the features that the method predicts from, or its backbone's where no head predicts.

        Raises:
            ConfigError: the method predicts without calling a backbone, or the task has not one answer per image.
            DataError: the split has no image.
            NonFiniteError: a feature is not a finite number.

        Cost: one forward pass over the images, and the memory of all features, twice with several processes.
        """
        target = self.require_answers("features with answers")
        tally, predicts = Tally(len(split.source), self.runtime), self.predicts
        with self.reading():
            tally.expect({"pooled": torch.zeros(1, self.method.predicting_backbone.num_features)})
            for batch in self.batches(split):
                found = self.observe(self.normalised(batch).images, predicts=predicts)
                tally.add({"pooled": found.pooled}, batch.indices)
        pooled = tally.merge()["pooled"]
        if not pooled.isfinite().all():
            fix = "the weights have diverged; train again with a lower learning rate"
            raise NonFiniteError(f"finite features on {split.name}", "some that are not", fix)
        return TargetedFeatures(pooled.numpy(), split.source.columns[target.name].values.numpy())

    def observe(self, images: Images, *, predicts: bool) -> Features:
        """Return the features of normalised images; see :func:`auxo.evaluation.features_of`."""
        with self.runtime.autocast():
            found = features_of(self.method, images, predicts=predicts)
        return found._replace(pooled=found.pooled.float())

    def _score_split(
        self, split: AnySplit, pretexts: Mapping[str, PretextHead]
    ) -> tuple[dict[str, Scores], dict[str, Scores]]:
        """Return the scores of the task's heads and of pretexts."""
        count = len(split.source)
        own: dict[str, Tally] = {}
        with self.reading():
            parts = {name: _PretextPart(self, head, len(pretexts), count) for name, head in pretexts.items()}
            for raw in self.batches(split):
                batch = self.normalised(raw)
                for name, outputs in self.outputs(batch.images).items():
                    tally = own.setdefault(name, Tally(count, self.runtime))
                    tally.add(self.task.score(outputs, batch.targets), batch.indices)
                for part in parts.values():
                    part.add(batch)
            if not own:  # no image in this process; not before the loop, as a compiled network would be compiled anew
                own = {name: tally for name, (tally,) in self.tallies(split).items()}
            return {k: t.merge() for k, t in own.items()}, {k: part.tally.merge() for k, part in parts.items()}

    def tallies(self, split: AnySplit, number: int = 1) -> dict[str, list[Tally]]:
        """Return for each of the task's heads so many tallies with room for its scores of the images of a split.

        A process that has no image must merge scores of the same names and shapes as the others.

        Raises:
            DataError: the split has no image.
        """
        _require_images(split)
        found = split.source.fetch_targets(torch.tensor([0]))  # real ones: their shapes are the source's to choose
        targets = {name: values.to(self.runtime.device) for name, values in found.items()}
        size = split.source.image_shape[1:] if self.task.targets[0].has_places else ()
        made: dict[str, list[Tally]] = {}
        with self.reading():
            blank = torch.zeros(1, self.task.num_outputs, *size, device=self.runtime.device)
            scores = self.task.score(blank, targets)
            for name in self.heads:
                made[name] = [Tally(len(split.source), self.runtime) for _ in range(number)]
                for tally in made[name]:
                    tally.expect(scores)
        return made


def _require_images(split: AnySplit) -> None:
    """Refuse an empty split."""
    if len(split.source) == 0:
        raise DataError(f"images in {split.name}", "none", "give a set that is not empty")


class _PretextPart:
    """A pretext on every variant of every image, or of every so many-th one.

    Each pretext takes all variants of the images that it is measured on: those of one answer are not harder than
    others'. Which images these are does not depend on how the split is shared out.

    Args:
        reader: of the method.
        head: the pretext and what answers it.
        num_pretexts: that share at most four passes an image.
        count: images of the split.
    """

    def __init__(self, reader: Reader, head: PretextHead, num_pretexts: int, count: int) -> None:
        self._reader, self._head = reader, head
        self._variants = len(head.pretext.make_all(reader.blank_image()).targets)
        self._stride = max(1, ceil(self._variants * num_pretexts / _PRETEXT_PASSES))
        self.tally = Tally(ceil(count / self._stride) * self._variants, reader.runtime)
        blank = torch.zeros(1, head.pretext.num_outputs, device=reader.runtime.device)
        answer = torch.zeros(1, dtype=torch.int64, device=reader.runtime.device)
        self.tally.expect(score_answers(blank, answer, num_outputs=head.pretext.num_outputs))

    def add(self, batch: Batch) -> None:
        """Measure the pretext on a batch, so many variants at a time."""
        places = batch.indices.to(batch.images.device)
        chosen = places % self._stride == 0
        images, places = (batch.images, places) if self._stride == 1 else (batch.images[chosen], places[chosen])
        if not len(images):
            return
        made, pretext, size = self._head.pretext.make_all(images), self._head.pretext, self._reader.batch_size
        if made.targets.ndim != 1 or made.targets.dtype != torch.int64:
            raise ShapeError(
                "a pretext whose answers are int64 classes of shape (n,)",
                f"{made.targets.dtype} of shape {tuple(made.targets.shape)} from {type(pretext).__name__}",
                "leave it out of pretext_heads()",
            )
        items = _number_variants(made.sources, places // self._stride, self._variants)
        parts = (each.split(size) for each in (made.inputs, made.targets, items))
        for inputs, targets, numbers in zip(*parts, strict=True):
            with self._reader.runtime.autocast():
                outputs = self._head.answer(inputs)
            self.tally.add(score_answers(outputs, targets, num_outputs=pretext.num_outputs), numbers)


def _number_variants(sources: Tensor, places: Tensor, variants: int) -> Int[Tensor, " n"]:
    """Return the position of every variant among those of all images: an image's variants follow one another."""
    order = sources.argsort(stable=True)
    numbers = torch.empty_like(order)
    numbers[order] = torch.arange(len(order), device=order.device) % variants
    return places[sources] * variants + numbers
