"""A trained model and the set of images it is asked about."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.data import AbstractSource
from auxo.errors import NonFiniteError
from auxo.evaluation import Reader, features_of, observe
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime
from auxo.types import Column, Features, Images


class Inputs(NamedTuple):
    """Some images of the set.

    Args:
        indices: shape ``(n,)``; int64 positions in the set.
        pixels: as the set gives them.
        images: normalised, on the device.
    """

    indices: Int[Tensor, " n"]
    pixels: UInt8[Tensor, "n channels height width"]
    images: Images


class Answers(NamedTuple):
    """What the model says of some images, on the CPU.

    Args:
        pooled: features; shape ``(n, dim)``.
        probs: of every class; shape ``(n, classes)``.
        predicted: shape ``(n,)``; int64.
    """

    pooled: Float[Tensor, "n dim"]
    probs: Float[Tensor, "n classes"]
    predicted: Int[Tensor, " n"]


@dataclass(frozen=True)
class Subject:
    """A trained model and the set of images it is asked about.

    Args:
        model: in evaluation mode.
        source: images of the model's size, with the classes that it tells.
        run: what rows and captions call the model.
        split: what they call the set.
        runtime: the device the model is on.
        batch_size: images of one pass, >= 1.
    """

    model: TrainedModel
    source: AbstractSource
    run: str
    split: str
    runtime: Runtime
    batch_size: int

    @cached_property
    def reader(self) -> Reader:
        """Runs the model."""
        return Reader.of(self.model, runtime=self.runtime, batch_size=self.batch_size)

    @property
    def right(self) -> Column:
        """The right class of every image.

        Raises:
            ConfigError: the task has not one class per image.
        """
        return self.source.columns[self.reader.require_answers("explanations").name]

    @property
    def predicts(self) -> bool:
        """Whether the model has a head that predicts."""
        return self.reader.predicts

    def inputs(self, indices: Int[Tensor, " n"]) -> Iterator[Inputs]:
        """Yield the images at some positions, ``batch_size`` at a time."""
        for chunk in indices.split(self.batch_size):
            pixels = self.source.fetch(chunk)
            yield Inputs(chunk, pixels, self.reader.inputs(pixels))

    def features(self, images: Images) -> Features:
        """Return the features of normalised images; a model needs no head that predicts for these."""
        with torch.no_grad():  # in float32, whatever the run's precision
            return features_of(self.model.method, images, predicts=self.predicts)

    def answers(self, images: Images) -> Answers:
        """Return what a model with a class head says of normalised images.

        Raises:
            NonFiniteError: a logit is not a finite number.
        """
        with torch.no_grad():
            logits, features = observe(self.model.method, images)
        if not logits.isfinite().all():
            fix = "the weights have diverged; train again with a lower learning rate"
            raise NonFiniteError(f"finite logits on {self.split}", "some that are not", fix)
        probs = logits.float().softmax(dim=1).cpu()
        return Answers(features.pooled.float().cpu(), probs, probs.argmax(dim=1))

    def row(self, index: int, predicted: int | None) -> dict[str, Any]:
        """Return what every row says of an image; ``predicted`` is ``None`` without a class head."""
        right = self.right
        return {
            "split": self.split,
            "index": index,
            "image": self.source.describe(index),
            "label": right.names[int(right.values[index])],
            "predicted": None if predicted is None else right.names[predicted],
        }
