"""``auxo estimate --labels``: images to be labelled, and what their labels say of the whole set."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from PIL import Image
from torch import Tensor

from auxo.cli.earlier import write_results
from auxo.cli.words import say
from auxo.data import AbstractSource
from auxo.data.names import NameLookup
from auxo.errors import ConfigError, DataError
from auxo.estimation import LabelledSample, draw_order, judge_sample, read_labelled
from auxo.evaluation import Reader, begin_sentence
from auxo.files import make_folder, write_atomically
from auxo.tasks import Target


def draw_sample(number: int, source: AbstractSource, *, seed: int, out: Path) -> None:
    """Write the file for the one who labels, or add images to an earlier one, whose labels stay.

    Raises:
        ConfigError: there are not so many images, or the file has as many already.
        DataError: the earlier file cannot be read, or is of other images.
        OutputError: a file cannot be written.
    """
    if not 1 <= number <= len(source):
        raise ConfigError(f"--labels of 1 to {len(source):,} images", f"{number:,}", f"{source.name} has no more")
    positions = draw_order(len(source), seed=seed)[:number]
    order = [source.describe(position) for position in positions]
    sample = read_labelled(out, order) if out.exists() else LabelledSample((), ())
    if len(sample.images) >= number:
        fix = f"fill in its column label and give --labels {out}"
        raise ConfigError(f"more images than {out} has", f"{number} of {len(sample.images)}", fix)
    copies = _copy_images(source, positions, order, out)
    write_atomically(out, sample.extend(order).to_csv())
    say(f"{number:,} of {len(source):,} images were drawn at random: fill in the column label of {out}, from the top")
    if copies is not None:
        say(f"the images by their number: {copies}")


def judge_by_labels(
    file: Path, source: AbstractSource, reader: Reader, *, seed: int, confidence: float, out: Path
) -> None:
    """Print the measure of a set by the labels of a file, with its interval, and write it.

    Raises:
        DataError: the file cannot be read, is of other images, has no label, or one that is no class.
        OutputError: the results cannot be written.
    """
    positions = draw_order(len(source), seed=seed)
    sample = read_labelled(file, [source.describe(position) for position in positions])
    target = reader.require_answers("labels of a sample")
    numbers = _number_labels(sample, target, file)
    known = {target.name: numbers}
    answered = judge_sample(reader, source, sample, positions[: len(numbers)], known, confidence=confidence)
    if reader.runtime.is_main:
        write_results(out, json.dumps(answered.to_record()) + "\n")
        say(f"{begin_sentence(reader.task.primary)} of {answered.describe()}")
        say(f"results: {out}")


def _number_labels(sample: LabelledSample, target: Target, file: Path) -> Int[Tensor, " n"]:
    """Return the positions of the labels among the classes."""
    if not sample.labels:
        raise DataError(f"labels in {file}", "none", "fill in the column label, from the top")
    lookup, numbers = NameLookup(target.names), []
    for label in sample.labels:
        number = lookup.find(label)
        if number is None:
            classes = ", ".join(target.names[:10]) + (", …" if len(target.names) > 10 else "")
            raise DataError(f"a class under 'label' in {file}", f"'{label}'", f"write one of {classes}")
        numbers.append(number)
    return torch.tensor(numbers)


def _copy_images(source: AbstractSource, positions: Sequence[int], order: Sequence[str], out: Path) -> Path | None:
    """Write images that are no files of their own beside the file of labels, each called by its number."""
    if all(os.path.isfile(place) for place in order):
        return None
    folder = make_folder(out.with_name(f"{out.stem}-images"))
    for number, pixels in enumerate(source.fetch(torch.tensor(positions)), 1):
        Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).save(folder / f"{number:05d}.png")
    return folder
