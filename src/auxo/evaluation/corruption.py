"""Measures under the fifteen common corruptions at five severities."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from jaxtyping import UInt8
from torch import Tensor

from auxo.data import EvaluationSplit, ordered_batches
from auxo.data.corruption_strengths import CorruptionStrengths
from auxo.data.corruptions import KINDS, SEVERITIES, corrupt
from auxo.errors import DataError
from auxo.evaluation.reader import Reader
from auxo.evaluation.tables import Table, describe_primary, measure_cell
from auxo.evaluation.tally import Tally
from auxo.random import derive_seed
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure, Part, Scores, bootstrap_interval, clustered_interval
from auxo.types import Batch

_BLOCK = 200
_PREFIX = "corruption"


def evaluate_under_corruptions(
    reader: Reader,
    split: EvaluationSplit,
    *,
    seed: int,
    kinds: Sequence[str] = KINDS,
    severities: Sequence[int] = SEVERITIES,
    strengths: CorruptionStrengths = "auxo",
) -> list[EvaluationRow]:
    """Measure the task's heads on a split, clean and under every corruption at every severity.

    Every image is read once and spoiled on the device. Its noise depends on the seed and on its place in the split, not
    on the reader's batch size or the number of processes.

    Args:
        reader: of the method; more than 200 images of a forward pass count as 200.
        split: clean images and their targets.
        seed: of the noise.
        kinds: of :data:`auxo.data.corruptions.KINDS`.
        severities: of 1 to 5.
        strengths: see :func:`auxo.data.corruptions.corrupt`.

    Returns:
        Rows of every head of the task, and of their mean outputs if there are several, for these splits in this order:
        the clean one under its own name, ``corruption/KIND/SEVERITY``, ``corruption/KIND/mean`` over the severities,
        ``corruption/mean/SEVERITY`` over the kinds, and ``corruption/mean`` over all; under published strengths
        ``corruption-cifar10_c/…`` and so on. A row of a mean counts every
        image once per corruption, lacks measures whose mean says nothing, and has an interval that takes the images,
        not their corrupted copies, for independent.

    Raises:
        ConfigError: there are no such kind, severity or strengths, or no head predicts.
        DataError: the split has no image.
        NonFiniteError: a head's outputs are not all finite.

    Cost: ``1 + kinds * severities`` forward passes per image, and as many renderings.
    """
    reader.require_head()
    kinds, severities = tuple(dict.fromkeys(kinds)), tuple(dict.fromkeys(severities))
    for kind in kinds:
        for severity in severities:  # refused before anything is measured
            corrupt(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), kind, severity, seed=seed, strengths=strengths)
    tallies = reader.tallies(split, 1 + len(kinds) * len(severities))
    with reader.reading():
        for number, block in _draw_blocks(split, reader):
            block_seed = derive_seed(seed, "block", number)
            spoiled = _corrupt_each(block.images, kinds, severities, seed=block_seed, strengths=strengths)
            for place, images in spoiled:
                _add_block(tallies, place, replace(block, images=images), reader)
    prefix = _PREFIX if strengths == "auxo" else f"{_PREFIX}-{strengths}"
    by_head = [_build_rows(reader, split, head, own, kinds, severities, prefix) for head, own in tallies.items()]
    return [row for rows in zip(*by_head, strict=True) for row in rows]


def build_corruption_table(rows: Sequence[EvaluationRow]) -> Table:
    """Return kinds by severities, with means: the primary measure of the head that predicts.

    Args:
        rows: from :func:`evaluate_under_corruptions`.

    Raises:
        DataError: there are no such rows.
    """
    found = {row.split: row for row in rows if row.head == rows[0].head}
    prefixes = [name.partition("/")[0] for name in found if _is_corrupted(name)]
    places = [tuple(name.split("/")[1:]) for name in found if _is_corrupted(name)]
    if not places:
        raise DataError("rows of corruptions", f"{len(rows)} rows without", "measure them first")
    prefix = prefixes[0]
    kinds = dict.fromkeys(place[0] for place in places if len(place) == 2)  # "mean" is the last
    columns = dict.fromkeys(place[1] for place in places if len(place) == 2)
    severities = [column for column in columns if column != "mean"]
    lines = []
    for kind in kinds:
        cells = [_without_interval(found[f"{prefix}/{kind}/{severity}"]) for severity in severities]
        mean = found[prefix + "/mean" if kind == "mean" else f"{prefix}/{kind}/mean"]
        lines.append((kind, *cells, measure_cell([mean])))
    clean = rows[0]
    has_intervals = any(row.main.low is not None for row in found.values())
    intervals = (
        "Intervals of 95 % over the images, whose corrupted copies are not taken for independent. " * has_intervals
    )
    published = prefix.removeprefix(_PREFIX).removeprefix("-")
    strengths = f", at the strengths of {published}" if published else ""
    caption = (
        f"{describe_primary(clean)} of {clean.head} on {clean.n:,} images of {clean.split}, each under every "
        f"corruption. Clean: {measure_cell([clean])}. {intervals}The spread over seeds is not known. "
        f"The corruptions are auxo's own renderings{strengths}: numbers do not compare with CIFAR-10-C or ImageNet-C."
    )
    return Table(("corruption", *severities, "mean"), tuple(lines), caption)


def _is_corrupted(split: str) -> bool:
    """Whether a row of that name was measured under corruptions."""
    first, slash, _ = split.partition("/")
    return bool(slash) and first.partition("-")[0] == _PREFIX


def _without_interval(row: EvaluationRow) -> str:
    """Return the cell of a primary measure alone."""
    bare = row.main._replace(low=None, high=None)
    return measure_cell([replace(row, measures={**row.measures, row.primary: bare})])


def _add_block(tallies: Mapping[str, Sequence[Tally]], place: int, block: Batch, reader: Reader) -> None:
    """Add a block of the set of that number to every head's tally, so many images in one pass."""
    for part in torch.arange(len(block), device=reader.runtime.device).split(reader.batch_size):
        targets = {name: values[part] for name, values in block.targets.items()}
        piece = reader.normalised(Batch(block.images[part], targets, block.indices[part]))
        for head, outputs in reader.outputs(piece.images).items():
            tallies[head][place].add(reader.task.score(outputs, targets), piece.indices)


def _build_rows(
    reader: Reader,
    split: EvaluationSplit,
    head: str,
    tallies: Sequence[Tally],
    kinds: Sequence[str],
    severities: Sequence[int],
    prefix: str,
) -> list[EvaluationRow]:
    """Return the rows of one head: clean, corrupted, means by kind, means by severity, mean."""
    scores = [tally.merge() for tally in tallies]
    names = [split.name, *(f"{prefix}/{kind}/{severity}" for kind in kinds for severity in severities)]
    columns = split.source.columns
    rows = [reader.row(name, head, kept, columns) for name, kept in zip(names, scores, strict=True)]
    places = 1 + torch.arange(len(kinds) * len(severities)).view(len(kinds), len(severities))
    groups = {f"{prefix}/{kind}/mean": places[number] for number, kind in enumerate(kinds)}
    groups |= {f"{prefix}/mean/{severity}": places[:, number] for number, severity in enumerate(severities)}
    groups[f"{prefix}/mean"] = places.flatten()
    means = [
        _mean_row(
            name, [rows[place] for place in members.tolist()], [scores[place] for place in members.tolist()], reader
        )
        for name, members in groups.items()
    ]
    return rows + means


def _draw_blocks(split: EvaluationSplit, reader: Reader) -> Iterator[tuple[int, Batch]]:
    """Yield this process's blocks with their numbers; an image is in the same block however the split is shared."""
    runtime, blocks = reader.runtime, torch.arange(len(split.source)).split(_BLOCK)
    numbers = range(runtime.rank, len(blocks), runtime.num_processes)
    if not numbers:
        return
    mine = split.source.subset(torch.cat([blocks[number] for number in numbers]), split.source.name)
    for number, batch in zip(numbers, ordered_batches(mine, batch_size=_BLOCK, workers=reader.workers), strict=True):
        yield number, replace(reader.on_device(batch), indices=blocks[number].to(runtime.device))


def _corrupt_each(
    images: UInt8[Tensor, "images 3 height width"],
    kinds: Sequence[str],
    severities: Sequence[int],
    *,
    seed: int,
    strengths: CorruptionStrengths,
) -> Iterator[tuple[int, UInt8[Tensor, "images 3 height width"]]]:
    """Yield the images as they are and under every corruption, numbered from 0."""
    yield 0, images
    places = ((kind, severity) for kind in kinds for severity in severities)
    for place, (kind, severity) in enumerate(places, start=1):
        yield place, corrupt(images, kind, severity, seed=seed, strengths=strengths)


def _mean_row(name: str, rows: Sequence[EvaluationRow], scores: Sequence[Scores], reader: Reader) -> EvaluationRow:
    """Return the mean of rows over the same images.

    Args:
        name: of the split.
        rows: one per corruption.
        scores: of the same.
        reader: of the method, whose task knows what every image adds to the primary measure.
    """
    measures: dict[str, Measure] = {}
    for key in rows[0].measures:
        own = [row.measures[key] for row in rows if key in row.measures]
        if own[0].has_mean or key == rows[0].primary:
            measures[key] = own[0]._replace(value=fmean(measure.value for measure in own), low=None, high=None)
    values = [reader.task.image_values(kept) for kept in scores]
    shares = [value for value in values if value is not None]
    if len(shares) == len(values):
        primary, per_image = measures[rows[0].primary], torch.stack(shares).mean(0)
        if primary.unit == "%":
            interval = clustered_interval(per_image, trials_per_cluster=len(rows))
        else:
            interval = bootstrap_interval(lambda chosen: float(per_image[chosen].mean()), len(per_image))
        measures[rows[0].primary] = primary._replace(low=interval.low, high=interval.high)
    parts = {
        cut: {part: _mean_part([row.parts[cut][part] for row in rows]) for part in own}
        for cut, own in rows[0].parts.items()
    }
    total = sum(row.n for row in rows)
    return replace(rows[0], split=name, n=total, measures=measures, parts=parts)


def _mean_part(parts: Sequence[Part]) -> Part:
    """Return the mean of a measure on the same part of several sets."""
    present = [part.value for part in parts if part.value is not None]
    return Part(sum(part.n for part in parts), fmean(present) if present else None)
