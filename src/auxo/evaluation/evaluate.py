"""What every head of a method achieves on a split."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import ceil, isfinite
from typing import Literal

import torch
from torch import Tensor, nn

from auxo.data import EvaluationSplit, InputPipeline, TrainSplit, ordered_batches
from auxo.errors import ConfigError, DataError, NonFiniteError, ShapeError
from auxo.evaluation.intervals import wilson_interval
from auxo.evaluation.metrics import HeadMetrics, HeadScores
from auxo.interfaces import AbstractMethod, PretextHead
from auxo.runtime import Runtime
from auxo.types import Batch, Images

__all__ = [
    "EvaluationRow",
    "blank_image",
    "class_logits",
    "device_batches",
    "evaluate",
    "evaluation_mode",
    "evaluation_row",
    "has_class_head",
    "require_class_head",
    "sum_over_processes",
]

_PRETEXT_PASSES = 4


@dataclass(frozen=True)
class EvaluationRow:
    """What one head achieved on one split.

    Args:
        split: name of the split, such as ``"test"`` or ``"ood/optdigits"``.
        head: name of the class head or the pretext; ``"mean"`` is the average of the class heads' logits.
        kind: ``"class"`` for the classes of the task, ``"pretext"`` for a pretext's answers.
        n: number of items: images, or for a pretext all variants of the images it was measured on.
        accuracy: fraction of items whose largest logit is the right one.
        low: lower end of the accuracy's 95 % Wilson interval, which takes the items for independent; a pretext's
            variants of one image are not, so its interval is too narrow.
        high: upper end.
        nll: mean negative log-likelihood of the right answers, nats.
        calibration_error: expected calibration error, a fraction; ``None`` for a pretext.
        per_class: accuracy on each class or pretext answer; ``None`` where the split has none.
    """

    split: str
    head: str
    kind: Literal["class", "pretext"]
    n: int
    accuracy: float
    low: float
    high: float
    nll: float
    calibration_error: float | None
    per_class: tuple[float | None, ...]

    def to_record(self) -> dict[str, object]:
        """Return the row as a dictionary of values that JSON has; ``kind`` is called ``head_kind`` there."""
        values = asdict(self)
        head_kind = values.pop("kind")
        return {**values, "head_kind": head_kind, "per_class": list(self.per_class)}


def evaluate(
    method: AbstractMethod,
    split: EvaluationSplit | TrainSplit,
    *,
    pipeline: InputPipeline,
    runtime: Runtime,
    batch_size: int,
    workers: int = 0,
) -> list[EvaluationRow]:
    """Measure every head of a method on a split.

    The method is in evaluation mode meanwhile and is left as it was: weights, buffers and the mode of every submodule.
    Each process measures its own part of the split, and all return the same rows.

    Args:
        method: its class heads are those of ``head_logits``, its pretexts those of ``pretext_heads``.
        split: images and labels.
        pipeline: normalises a batch on the device; it is called without a seed, so nothing is augmented.
        runtime: device and processes.
        batch_size: images, or pretext inputs, of one forward pass.
        workers: processes that decode a streaming source, >= 0; they live until the split is measured.

    Returns:
        The class heads in the method's order, the first being the one to be used, none where it has none; ``"mean"``,
        the average of their logits, if there are two or more; then the pretexts, on every variant of every image, or of
        every so many-th one where the variants of all pretexts together are more than four.

    Raises:
        ConfigError: one of several class heads is called ``"mean"``.
        DataError: the split has no image.
        NonFiniteError: a head's logits are not all finite.
        ShapeError: a pretext's answers are not classes, so it has no accuracy.

    Cost: one forward pass of the class heads over the images, and at most four of the pretexts.
    """
    if len(split.source) == 0:
        raise DataError(f"images in {split.name}", "none", "give a set that is not empty")
    pretexts = method.pretext_heads()
    answers = {name: HeadMetrics(head.pretext.num_outputs, runtime.device) for name, head in pretexts.items()}
    classes: dict[str, HeadMetrics] = {}
    with evaluation_mode(method), torch.inference_mode():
        strides = _pretext_strides(pretexts, blank_image(method, runtime))
        for raw in device_batches(split, runtime, batch_size=batch_size, workers=workers):
            batch = pipeline(raw, seed=None)
            for name, logits in class_logits(method, batch.images, runtime).items():
                metrics = classes.setdefault(name, HeadMetrics(method.task.num_classes, runtime.device))
                metrics.update(logits, batch.labels)
            for name, head in pretexts.items():
                images = _every(strides[name], batch)
                if len(images):
                    _add_pretext(answers[name], head, images, runtime=runtime, batch_size=batch_size)
        if not classes:  # this process has no image, and must merge the same heads as the others
            names = class_logits(method, blank_image(method, runtime), runtime)
            classes = {name: HeadMetrics(method.task.num_classes, runtime.device) for name in names}
        for metrics in (*classes.values(), *answers.values()):
            metrics.merge(lambda sums: sum_over_processes(sums, runtime))
        rows = [evaluation_row(split.name, name, "class", metrics.compute()) for name, metrics in classes.items()]
        return rows + [
            evaluation_row(split.name, name, "pretext", metrics.compute()) for name, metrics in answers.items()
        ]


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, and every submodule back in its own mode afterwards."""
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, was_training in modes:
            child.training = was_training


def device_batches(
    split: EvaluationSplit | TrainSplit, runtime: Runtime, *, batch_size: int, workers: int
) -> Iterator[Batch]:
    """Yield this process's part of the split, uint8, on the device; none if there are fewer images than processes."""
    for batch in ordered_batches(
        split.source,
        batch_size=batch_size,
        rank=runtime.rank,
        num_processes=runtime.num_processes,
        workers=workers,
    ):
        yield replace(batch, images=runtime.to_device(batch.images), labels=batch.labels.to(runtime.device))


def class_logits(method: AbstractMethod, images: Images, runtime: Runtime) -> dict[str, Tensor]:
    """Return the logits of the class heads, and their average if there are two or more."""
    with runtime.autocast():
        logits = dict(method.head_logits(images))
    if len(logits) >= 2:
        if "mean" in logits:
            raise ConfigError("class heads of other names than 'mean', their average", "'mean'", "rename that head")
        logits["mean"] = torch.stack(
            [head if head.dtype.itemsize >= 4 else head.float() for head in logits.values()]
        ).mean(0)
    return logits


def has_class_head(method: AbstractMethod, runtime: Runtime) -> bool:
    """Return whether a method can tell classes; one that prepares a backbone for later stages cannot.

    Cost: a forward pass of one black image.
    """
    with evaluation_mode(method), torch.inference_mode():
        return bool(class_logits(method, blank_image(method, runtime), runtime))


def require_class_head(method: AbstractMethod, runtime: Runtime) -> None:
    """Refuse a method that cannot tell classes.

    Raises:
        ConfigError: it has no class head.
    """
    if not has_class_head(method, runtime):
        fix = "judge a stage that trains one, or the features with auxo evaluate --probe all"
        raise ConfigError("a method with a class head", type(method).__name__, fix)


def _pretext_strides(pretexts: Mapping[str, PretextHead], image: Images) -> dict[str, int]:
    """Return which images each pretext is measured on, every so many-th, so that all take four passes an image at most.

    Each takes all variants of the images that it is measured on: those of one answer are not harder than others'.
    """
    variants = {name: len(head.pretext.make_all(image).targets) for name, head in pretexts.items()}
    return {name: max(1, ceil(count * len(pretexts) / _PRETEXT_PASSES)) for name, count in variants.items()}


def _every(stride: int, batch: Batch) -> Images:
    """Return the images whose place in their source is a multiple of ``stride``, however they are shared out."""
    return batch.images if stride == 1 else batch.images[batch.indices.to(batch.images.device) % stride == 0]


def _add_pretext(metrics: HeadMetrics, head: PretextHead, images: Images, *, runtime: Runtime, batch_size: int) -> None:
    """Measure a pretext on every variant of every image, ``batch_size`` variants at a time."""
    made = head.pretext.make_all(images)
    if made.targets.ndim != 1 or made.targets.dtype != torch.int64:
        raise ShapeError(
            "a pretext whose answers are int64 classes of shape (n,)",
            f"{made.targets.dtype} of shape {tuple(made.targets.shape)} from {type(head.pretext).__name__}",
            "leave it out of pretext_heads()",
        )
    for inputs, targets in zip(made.inputs.split(batch_size), made.targets.split(batch_size), strict=True):
        with runtime.autocast():
            outputs = head.answer(inputs)
        metrics.update(outputs, targets)


def blank_image(method: AbstractMethod, runtime: Runtime) -> Images:
    """Return one black image of the method's task."""
    return runtime.to_device(torch.zeros(1, method.task.channels, method.task.height, method.task.width))


def sum_over_processes(tensor: Tensor, runtime: Runtime) -> Tensor:
    """Return the sum of a tensor over the processes."""
    (mean,) = runtime.mean([tensor])
    return tensor if mean is None else mean * runtime.num_processes


def evaluation_row(split: str, head: str, kind: Literal["class", "pretext"], scores: HeadScores) -> EvaluationRow:
    """Return the row of a head's scores."""
    if not isfinite(scores.nll):
        raise NonFiniteError(
            f"finite logits of {head} on {split}",
            f"a mean negative log-likelihood of {scores.nll}",
            "the weights have diverged; go back to the last good checkpoint and lower the learning rate",
        )
    interval = wilson_interval(scores.correct, scores.n)
    return EvaluationRow(
        split=split,
        head=head,
        kind=kind,
        n=scores.n,
        accuracy=scores.accuracy,
        low=interval.low,
        high=interval.high,
        nll=scores.nll,
        calibration_error=scores.calibration_error if kind == "class" else None,
        per_class=scores.per_class,
    )
