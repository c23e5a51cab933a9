"""Answers for images, whichever kind of file the network comes from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from auxo.data import decode_image, read_bytes
from auxo.errors import DataError, NonFiniteError
from auxo.export.description import Description
from auxo.export.windows import WindowConfig, answer_pixels, plan_windows
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime
from auxo.tasks import Answer
from auxo.types import Batch


class AnsweredFile(NamedTuple):
    """An image that was read from a file, and what the network says of it.

    Args:
        path: of the file.
        pixels: as they were read.
        answer: for a person.
    """

    path: Path
    pixels: UInt8[Tensor, "channels height width"]
    answer: Answer


@dataclass(frozen=True)
class Predictor:
    """A trained network that reads images.

    Args:
        description: task and input.
        path: the file it was read from.
        outputs: maps uint8 pixels of shape ``(batch, channels, height, width)`` to the outputs of the task's head.
    """

    description: Description
    path: Path
    outputs: Callable[[Tensor], Tensor]

    def read(self, path: Path) -> UInt8[Tensor, "channels height width"]:
        """Return the pixels of an image, brought to a square model's input; at its size where every pixel is answered.

        Raises:
            DataError: it is no image, or the model's input is not square and the image has another size.
        """
        task, is_free = self.description.task, self.description.answers_any_size
        size = None if is_free else self.description.image_size
        pixels = decode_image(read_bytes(str(path)), where=str(path), image_size=size)
        found = tuple(pixels.shape)
        channels, height, width = (task.channels, *found[1:]) if is_free else task.image_shape
        if found != (channels, height, width):
            expected = f"an image of {width}x{height} pixels and {channels} channels"
            fix = "resize it; auxo does so only for square inputs"
            raise DataError(expected, f"{found[2]}x{found[1]} and {found[0]} in {path}", fix)
        return pixels

    def answers(
        self,
        pixels: UInt8[Tensor, "batch channels height width"],
        *,
        where: Sequence[Path],
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
        for place, is_finite in zip(where, outputs.isfinite().flatten(1).all(1).tolist(), strict=True):
            if not is_finite:
                fix = "the weights have diverged; train again with a lower learning rate"
                raise NonFiniteError(f"finite outputs of {self.path} for {place}", "others", fix)
        return about.task.answers(outputs)

    def answer_files(
        self, paths: Sequence[Path], *, batch_size: int, windows: WindowConfig | None = None
    ) -> Iterator[AnsweredFile]:
        """Yield what the network says of each image, in order.

        Args:
            paths: of the images.
            batch_size: images of one pass, of the training size; of larger ones fewer.
            windows: see :meth:`answers`.

        Raises:
            DataError: as :meth:`read`.
            NonFiniteError: as :meth:`answers`.
        """
        task = self.description.task
        most = batch_size * task.height * task.width
        for group in _group_alike(((path, self.read(path)) for path in paths), most=most):
            pixels = torch.stack([image for _, image in group])
            places = [path for path, _ in group]
            answers = self.answers(pixels, where=places, windows=windows, batch_size=batch_size)
            for (path, image), answer in zip(group, answers, strict=True):
                yield AnsweredFile(path, image, answer)


def _group_alike(images: Iterable[tuple[Path, Tensor]], *, most: int) -> Iterator[list[tuple[Path, Tensor]]]:
    """Yield images that follow each other and are of one size, together while they have no more pixels than so many."""
    group: list[tuple[Path, Tensor]] = []
    for path, image in images:
        if group and (image.shape != group[0][1].shape or (len(group) + 1) * image[0].numel() > most):
            yield group
            group = []
        group.append((path, image))
    if group:
        yield group


def predictor_of(model: TrainedModel, runtime: Runtime) -> Predictor:
    """Return what a model predicts on the device and in the precision of a runtime."""

    def outputs(pixels: UInt8[Tensor, "batch c h w"]) -> Tensor:
        nothing = torch.zeros(len(pixels), dtype=torch.int64, device=runtime.device)
        batch = Batch(runtime.to_device(pixels), {}, nothing)
        with torch.inference_mode(), runtime.autocast():
            return model.method.predict(model.pipeline(batch, seed=None).images)

    return Predictor(Description.of(model), model.path, outputs)
