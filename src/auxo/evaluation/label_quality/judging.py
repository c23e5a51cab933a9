"""Which images judge a labeller, and what it gives them once it has learned from others."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from auxo.data import AbstractSource, EvaluationSplit, Splits, TrainSplit
from auxo.data.together import number_units
from auxo.errors import DataError
from auxo.evaluation.label_quality.quality import DrawingRule, LabelQuality, judge_labels
from auxo.evaluation.reader import Reader
from auxo.interfaces import StageStart
from auxo.pretexts.labellers import LabellerConfig, LabelTools
from auxo.random import derive_seed, global_seed, named_generator
from auxo.types import MASK

JudgedImages: TypeAlias = Literal["held_out", "val"]


class JudgedSets(NamedTuple):
    """Images with masks, in two parts.

    Args:
        learned: whose masks a labeller may learn from.
        judged: whose masks judge; no labeller reads them.
        note: a sentence that says which they are.
    """

    learned: TrainSplit
    judged: TrainSplit | EvaluationSplit
    note: str


def choose_judged(splits: Splits, *, images: JudgedImages = "held_out", share: float = 0.5, seed: int) -> JudgedSets:
    """Return the images that judge labellers: never those of a test set.

    Args:
        splits: the data.
        images: a part of the training images with masks, which is set apart, or the validation images.
        share: of the training images with masks that is set apart, in (0, 1); at least one, and not all. Images that
            are not independent, such as frames of one video, are set apart together, see
            :attr:`auxo.data.AbstractSource.blocks`.
        seed: of the draw.

    Raises:
        DataError: there are fewer than two training images to divide.
    """
    if images == "val":
        note = (
            f"Judged on the {len(splits.val.source)} validation images: a labeller that is chosen here has seen them."
        )
        return JudgedSets(splits.train, splits.val, note)
    source = splits.train.source
    if len(source) < 2:
        fix = "give more, or judge on the validation images with --images val"
        raise DataError("two training images with masks, one to judge", str(len(source)), fix)
    is_judged = _draw_blocks(_number_together(source), share, named_generator(seed, "label-quality", "held_out"))
    judged, learned = (source.subset(part.nonzero().flatten(), source.name) for part in (is_judged, ~is_judged))
    whole = f", whole blocks of {source.blocks}" if source.blocks else ""
    note = f"Judged on {len(judged)} of the {len(source)} training images with masks{whole}, whose masks no labeller "
    return JudgedSets(TrainSplit(learned), TrainSplit(judged), f"{note}has read.")


def _number_together(source: AbstractSource) -> Int[Tensor, " n"]:
    """Return the number of what every image belongs to, its block or its copies; its own where that would be all."""
    units = number_units(source)
    return units if len(units.unique()) > 1 else torch.arange(len(source))


def _draw_blocks(blocks: Int[Tensor, " n"], share: float, generator: torch.Generator) -> Bool[Tensor, " n"]:
    """Return which images are in some blocks, drawn until they are a share of all; one block stays outside."""
    order = torch.randperm(int(blocks.max()) + 1, generator=generator)
    sizes = blocks.bincount()[order].cumsum(0)
    count = min(int((sizes < round(share * len(blocks))).sum()) + 1, len(order) - 1)
    return torch.isin(blocks, order[:count])


def judge_labeller(
    config: LabellerConfig,
    *,
    reader: Reader,
    splits: Splits,
    sets: JudgedSets,
    tools: LabelTools,
    rule: DrawingRule | None = None,
    seed: int = 0,
) -> LabelQuality:
    """Return how good the labels are that a labeller gives images that it has not learned from.

    It learns from all training images as a stage does, but of the masks from those of ``sets.learned`` alone.

    Args:
        config: of the labeller.
        reader: of the method whose stage it is for.
        splits: the data.
        sets: who judges.
        tools: of the method.
        rule: how training draws pixels.
        seed: of the stage.

    Raises:
        DataError: the images do not have what it learns from, or it gives none of the judging ones a label.
    """
    judged = reader.images(sets.judged)
    every = splits.unlabelled or splits.train
    # What learns nothing may also need to know what those that judge are: the oracle their masks.
    images = reader.images(every) if config.is_costly else judged
    start = StageStart({"train": reader.images(sets.learned)}, seed, reader.runtime.device)
    with global_seed(derive_seed(seed, "begin")):
        labeller = config.fit(images, start, tools)
    labels = judged.read(labeller.label)
    return judge_labels(labels, judged.targets[MASK], num_classes=tools.num_classes, rule=rule, seed=seed)


def find_same_images(train: Sequence[str], others: Sequence[str]) -> Int[Tensor, " n"]:
    """Return where the training images are among others, by the hashes of their content.

    Raises:
        DataError: one is not there.
    """
    places = {content: place for place, content in enumerate(others)}
    missing = [content for content in train if content not in places]
    if missing:
        fix = "judge the labeller itself with --labellers, which labels them"
        raise DataError("training images among those that were labelled", f"{len(missing)} others", fix)
    return torch.tensor([places[content] for content in train], dtype=torch.int64)
