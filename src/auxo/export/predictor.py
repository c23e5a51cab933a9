"""Answers for images, whichever kind of file the network comes from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from auxo.data.decode import AbstractEncodedImages, decode_image
from auxo.errors import ConfigError, DataError, NonFiniteError
from auxo.evaluation import observe
from auxo.export.description import Description
from auxo.export.windows import WindowConfig, answer_pixels, plan_windows
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime
from auxo.tasks import Answer
from auxo.types import Batch


class EncodedImage(NamedTuple):
    """An image that was not read yet.

    Args:
        where: what a person calls it: its file, or the row of a table.
        name: what files made of it are called, without an ending.
        encoded: images, of which it is one.
        row: which of them.
    """

    where: str
    name: str
    encoded: AbstractEncodedImages
    row: int


class AnsweredImage(NamedTuple):
    """An image and what the network says of it.

    Args:
        image: which it was.
        pixels: as they were read.
        answer: for a person.
        outputs: of the task's head, on the CPU; ``None`` where every pixel is answered.
        embedding: the pooled features that the outputs were computed from; ``None`` unless they were asked for.
    """

    image: EncodedImage
    pixels: UInt8[Tensor, "channels height width"]
    answer: Answer
    outputs: Float[Tensor, " outputs"] | None = None
    embedding: Float[Tensor, " features"] | None = None


@dataclass(frozen=True)
class Predictor:
    """A trained network that reads images.

    Args:
        description: task and input.
        path: the file it was read from.
        outputs: maps uint8 pixels of shape ``(batch, channels, height, width)`` to the outputs of the task's head.
        embeds: maps the same pixels to these outputs and the pooled features before the head; ``None`` where the file
            has the outputs alone.
    """

    description: Description
    path: Path
    outputs: Callable[[Tensor], Tensor]
    embeds: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None

    def read(self, image: EncodedImage) -> UInt8[Tensor, "channels height width"]:
        """Return the pixels of an image, brought to the model's input; at its size where every pixel is answered.

        Raises:
            DataError: it is no image, or the model's input is not square, its training images were not resized, and the
                image has another size.
        """
        task, is_free = self.description.task, self.description.answers_any_size
        size = None if is_free else self.description.image_size
        pixels = decode_image(image.encoded.read(image.row), where=image.where, image_size=size)
        found = tuple(pixels.shape)
        channels, height, width = (task.channels, *found[1:]) if is_free else task.image_shape
        if found != (channels, height, width):
            expected = f"an image of {width}x{height} pixels and {channels} channels"
            fix = "resize it; auxo does so for square inputs, and where it did so in training"
            raise DataError(expected, f"{found[2]}x{found[1]} and {found[0]} in {image.where}", fix)
        return pixels

    def answers(
        self,
        pixels: UInt8[Tensor, "batch channels height width"],
        *,
        where: Sequence[object],
        windows: WindowConfig | None = None,
        batch_size: int = 250,
    ) -> list[Answer]:
        """Return what the network says of images of one size, for a person.

        Args:
            pixels: as :meth:`read` gives them.
            where: they were read from, for the message.
            windows: how a network that answers every pixel is shown them; by default as whole images.
            batch_size: windows of one pass.

        Raises:
            NonFiniteError: an output is not finite, so that the answer would say nothing of the image.
        """
        about = self.description
        if about.answers_any_size:
            plan = plan_windows(
                (int(pixels.shape[2]), int(pixels.shape[3])),
                windows or WindowConfig(),
                trained_size=(about.task.height, about.task.width),
                was_resized=about.was_resized,
                takes_any_size=about.takes_any_size,
            )
            outputs = answer_pixels(self.outputs, pixels, plan, batch_size=batch_size)
        else:
            outputs = self.outputs(pixels).float().cpu()
        self._require_finite(outputs, where)
        return about.task.answers(outputs)

    def answer_images(
        self,
        images: Sequence[EncodedImage],
        *,
        batch_size: int,
        windows: WindowConfig | None = None,
        with_embeddings: bool = False,
    ) -> Iterator[AnsweredImage]:
        """Yield what the network says of each image, in order.

        Args:
            images: which they are.
            batch_size: images of one pass, of the training size; of larger ones fewer.
            windows: see :meth:`answers`.
            with_embeddings: whether to give the pooled features too, from the same pass.

        Raises:
            ConfigError: embeddings are asked of a file that has none, or of answers for every pixel.
            DataError: as :meth:`read`.
            NonFiniteError: as :meth:`answers`.
        """
        task = self.description.task
        if with_embeddings and (self.embeds is None or self.description.answers_any_size):
            fix = "leave --embeddings out" + (
                "" if self.embeds else ", or predict with the run or its safetensors export"
            )
            raise ConfigError("a network that gives one embedding for an image, with --embeddings", str(self.path), fix)
        most = batch_size * task.height * task.width
        for group in _group_alike(((image, self.read(image)) for image in images), most=most):
            pixels = torch.stack([each for _, each in group])
            places = [image.where for image, _ in group]
            if self.description.answers_any_size:
                answers = self.answers(pixels, where=places, windows=windows, batch_size=batch_size)
                yield from (AnsweredImage(*pair, answer) for pair, answer in zip(group, answers, strict=True))
                continue
            outputs, embedding = (
                self.embeds(pixels) if with_embeddings and self.embeds else (self.outputs(pixels), None)
            )
            outputs = outputs.float().cpu()
            self._require_finite(outputs, places)
            rows = [None] * len(group) if embedding is None else list(embedding.float().cpu())
            for pair, answer, own, row in zip(group, task.answers(outputs), outputs, rows, strict=True):
                yield AnsweredImage(*pair, answer, own, row)

    def _require_finite(self, outputs: Tensor, where: Sequence[object]) -> None:
        """Refuse outputs that say nothing of an image."""
        for place, is_finite in zip(where, outputs.isfinite().flatten(1).all(1).tolist(), strict=True):
            if not is_finite:
                fix = "the weights have diverged; train again with a lower learning rate"
                raise NonFiniteError(f"finite outputs of {self.path} for {place}", "others", fix)


_Read = tuple[EncodedImage, Tensor]


def _group_alike(images: Iterable[_Read], *, most: int) -> Iterator[list[_Read]]:
    """Yield images that follow each other and are of one size, together while they have no more pixels than so many."""
    group: list[_Read] = []
    for place, image in images:
        if group and (image.shape != group[0][1].shape or (len(group) + 1) * image[0].numel() > most):
            yield group
            group = []
        group.append((place, image))
    if group:
        yield group


def predictor_of(model: TrainedModel, runtime: Runtime) -> Predictor:
    """Return what a model predicts on the device and in the precision of a runtime."""

    def prepare(pixels: UInt8[Tensor, "batch c h w"]) -> Tensor:
        nothing = torch.zeros(len(pixels), dtype=torch.int64, device=runtime.device)
        batch: Batch = model.pipeline(Batch(runtime.to_device(pixels), {}, nothing), seed=None)
        return batch.images

    def outputs(pixels: UInt8[Tensor, "batch c h w"]) -> Tensor:
        with torch.inference_mode(), runtime.autocast():
            return model.method.predict(prepare(pixels))

    def embeds(pixels: UInt8[Tensor, "batch c h w"]) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(), runtime.autocast():
            seen = observe(model.method, prepare(pixels))
        return seen.logits, seen.features.pooled

    return Predictor(Description.of(model), model.path, outputs, embeds)
