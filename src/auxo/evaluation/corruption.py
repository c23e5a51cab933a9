"""Accuracy under the fifteen common corruptions at five severities."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from auxo.data import EvaluationSplit, InputPipeline, ordered_batches
from auxo.data.corruptions import KINDS, SEVERITIES, corrupt
from auxo.errors import DataError
from auxo.evaluation.evaluate import (
    EvaluationRow,
    blank_image,
    class_logits,
    evaluation_mode,
    evaluation_row,
    require_class_head,
    sum_over_processes,
)
from auxo.evaluation.intervals import clustered_interval
from auxo.evaluation.metrics import HeadMetrics
from auxo.evaluation.tables import Table
from auxo.interfaces import AbstractMethod
from auxo.random import derive_seed
from auxo.runtime import Runtime
from auxo.types import Batch

__all__ = ["build_corruption_table", "evaluate_under_corruptions"]

_BLOCK = 200
_PREFIX = "corruption"


def evaluate_under_corruptions(
    method: AbstractMethod,
    split: EvaluationSplit,
    *,
    pipeline: InputPipeline,
    runtime: Runtime,
    batch_size: int,
    seed: int,
    kinds: Sequence[str] = KINDS,
    severities: Sequence[int] = SEVERITIES,
    workers: int = 0,
) -> list[EvaluationRow]:
    """Measure the class heads of a method on a split, clean and under every corruption at every severity.

    Every image is read once and spoiled on the device. Its noise depends on the seed and on its place in the split, not
    on ``batch_size`` or the number of processes. The method is in evaluation mode meanwhile and left as it was.

    Args:
        method: its class heads are those of ``head_logits``.
        split: clean images and labels.
        pipeline: normalises a batch on the device.
        runtime: device and processes.
        batch_size: images of one forward pass; more than 200 count as 200.
        seed: of the noise.
        kinds: of :data:`auxo.data.corruptions.KINDS`.
        severities: of 1 to 5.
        workers: processes that decode a streaming source, >= 0.

    Returns:
        Rows of every class head, and of their mean logits if there are several, for these splits in this order: the
        clean one under its own name, ``corruption/KIND/SEVERITY``, ``corruption/KIND/mean`` over the severities,
        ``corruption/mean/SEVERITY`` over the kinds, and ``corruption/mean`` over all. A row of a mean counts every
        image once per corruption, has no calibration error, and has an interval that takes the images, not their
        corrupted copies, for independent.

    Raises:
        ConfigError: there is no such kind or severity, or the method has no class head.
        DataError: the split has no image.
        NonFiniteError: a head's logits are not all finite.

    Cost: ``1 + kinds * severities`` forward passes per image, and as many renderings.
    """
    if len(split.source) == 0:
        raise DataError(f"images in {split.name}", "none", "give a set that is not empty")
    require_class_head(method, runtime)
    kinds, severities = tuple(dict.fromkeys(kinds)), tuple(dict.fromkeys(severities))
    for kind in kinds:
        for severity in severities:  # refused before anything is measured
            corrupt(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), kind, severity, seed=seed)
    num_sets, num_classes = 1 + len(kinds) * len(severities), method.task.num_classes
    with evaluation_mode(method), torch.inference_mode():
        heads = list(class_logits(method, blank_image(method, runtime), runtime))
        tallies = {head: _Tally(num_sets, num_classes, len(split.source), runtime) for head in heads}
        for number, block in _blocks(split, runtime, workers):
            block_seed = derive_seed(seed, "block", number)
            for place, images in _corrupted(block.images, kinds, severities, seed=block_seed):
                _add(tallies, place, replace(block, images=images), method, pipeline, runtime, batch_size)
        by_head = [_rows(tally, split.name, head, kinds, severities) for head, tally in tallies.items()]
    return [row for rows in zip(*by_head, strict=True) for row in rows]


def build_corruption_table(rows: Sequence[EvaluationRow]) -> Table:
    """Return kinds by severities, with means: accuracies of the first class head in percent.

    Args:
        rows: from :func:`evaluate_under_corruptions`.

    Raises:
        DataError: there are no such rows.
    """
    accuracies = {row.split: row for row in rows if row.head == rows[0].head}
    places = [tuple(name.split("/")[1:]) for name in accuracies if name.startswith(f"{_PREFIX}/")]
    if not places:
        raise DataError("rows of corruptions", f"{len(rows)} rows without", "measure them first")
    kinds = dict.fromkeys(place[0] for place in places if len(place) == 2)  # "mean" is the last
    columns = dict.fromkeys(place[1] for place in places if len(place) == 2)
    severities = [column for column in columns if column != "mean"]
    lines = []
    for kind in kinds:
        cells = [f"{100 * accuracies[f'{_PREFIX}/{kind}/{severity}'].accuracy:.1f}" for severity in severities]
        mean = accuracies[_PREFIX + "/mean" if kind == "mean" else f"{_PREFIX}/{kind}/mean"]
        lines.append((kind, *cells, f"{100 * mean.accuracy:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"))
    clean = rows[0]
    caption = (
        f"Accuracy of {clean.head} in percent on {clean.n:,} images of {clean.split}, each under every corruption. "
        f"Clean: {100 * clean.accuracy:.1f} [{100 * clean.low:.1f}, {100 * clean.high:.1f}]. Intervals of 95 % over "
        "the images, whose corrupted copies are not taken for independent; the spread over seeds is not known. The "
        "corruptions are auxo's own renderings: numbers do not compare with CIFAR-10-C or ImageNet-C."
    )
    return Table(("corruption", *severities, "mean"), tuple(lines), caption)


class _Tally:
    """What one head got right, by set and image; set 0 is the clean one.

    Args:
        num_sets: clean and corrupted.
        num_classes: of the task.
        count: images of each set.
        runtime: device and processes.
    """

    def __init__(self, num_sets: int, num_classes: int, count: int, runtime: Runtime) -> None:
        self.runtime = runtime
        self.metrics = [HeadMetrics(num_classes, runtime.device) for _ in range(num_sets)]
        self.hits = torch.zeros(num_sets, count, device=runtime.device)

    def update(self, place: int, logits: Tensor, batch: Batch) -> None:
        """Add the logits of a batch of the set of that number."""
        self.metrics[place].update(logits, batch.labels)
        self.hits[place, batch.indices] = (logits.argmax(1) == batch.labels).float()

    def merge(self) -> None:
        """Put together what all processes added; every one of them must call it."""
        for metrics in self.metrics:
            metrics.merge(lambda sums: sum_over_processes(sums, self.runtime))
        self.hits = sum_over_processes(self.hits, self.runtime).round().cpu()


def _add(
    tallies: Mapping[str, _Tally],
    place: int,
    block: Batch,
    method: AbstractMethod,
    pipeline: InputPipeline,
    runtime: Runtime,
    batch_size: int,
) -> None:
    """Add a block of the set of that number to every head's tally, so many images in one pass."""
    for part in torch.arange(len(block), device=runtime.device).split(batch_size):
        piece = Batch(block.images[part], block.labels[part], block.indices[part])
        for head, logits in class_logits(method, pipeline(piece, seed=None).images, runtime).items():
            tallies[head].update(place, logits, piece)


def _rows(tally: _Tally, split: str, head: str, kinds: Sequence[str], severities: Sequence[int]) -> list[EvaluationRow]:
    """Return the rows of one head: clean, corrupted, means by kind, means by severity, mean."""
    tally.merge()
    names = [split, *(f"{_PREFIX}/{kind}/{severity}" for kind in kinds for severity in severities)]
    rows = [
        evaluation_row(name, head, "class", metrics.compute())
        for name, metrics in zip(names, tally.metrics, strict=True)
    ]
    places = 1 + torch.arange(len(kinds) * len(severities)).view(len(kinds), len(severities))
    groups = {f"{_PREFIX}/{kind}/mean": places[number] for number, kind in enumerate(kinds)}
    groups |= {f"{_PREFIX}/mean/{severity}": places[:, number] for number, severity in enumerate(severities)}
    groups[f"{_PREFIX}/mean"] = places.flatten()
    means = [
        _mean_row(name, [rows[place] for place in members.tolist()], tally.hits[members].mean(0))
        for name, members in groups.items()
    ]
    return rows + means


def _blocks(split: EvaluationSplit, runtime: Runtime, workers: int) -> Iterator[tuple[int, Batch]]:
    """Yield this process's blocks with their numbers; an image is in the same block however the split is shared."""
    blocks = torch.arange(len(split.source)).split(_BLOCK)
    numbers = range(runtime.rank, len(blocks), runtime.num_processes)
    if not numbers:
        return
    mine = split.source.subset(torch.cat([blocks[number] for number in numbers]), split.source.name)
    for number, batch in zip(numbers, ordered_batches(mine, batch_size=_BLOCK, workers=workers), strict=True):
        labels, indices = batch.labels.to(runtime.device), blocks[number].to(runtime.device)
        yield number, replace(batch, images=runtime.to_device(batch.images), labels=labels, indices=indices)


def _corrupted(
    images: UInt8[Tensor, "images 3 height width"], kinds: Sequence[str], severities: Sequence[int], *, seed: int
) -> Iterator[tuple[int, UInt8[Tensor, "images 3 height width"]]]:
    """Yield the images as they are and under every corruption, numbered from 0."""
    yield 0, images
    places = ((kind, severity) for kind in kinds for severity in severities)
    for place, (kind, severity) in enumerate(places, start=1):
        yield place, corrupt(images, kind, severity, seed=seed)


def _mean_row(name: str, rows: Sequence[EvaluationRow], shares: Float[Tensor, " images"]) -> EvaluationRow:
    """Return the mean of rows over the same images.

    Args:
        name: of the split.
        rows: one per corruption.
        shares: shape ``(images,)``; share of the corruptions under which each image was told.
    """
    accuracy = float(shares.double().mean())
    low, high = clustered_interval(shares, trials_per_cluster=len(rows))
    per_class = []
    for values in zip(*(row.per_class for row in rows), strict=True):
        present = [value for value in values if value is not None]
        per_class.append(sum(present) / len(present) if present else None)
    return replace(
        rows[0],
        split=name,
        n=sum(row.n for row in rows),
        accuracy=accuracy,
        low=low,
        high=high,
        nll=sum(row.nll for row in rows) / len(rows),
        calibration_error=None,
        per_class=tuple(per_class),
    )
