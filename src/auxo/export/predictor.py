"""Answers for images, whichever kind of file the network comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from auxo.data import decode_image, read_bytes
from auxo.errors import DataError, NonFiniteError
from auxo.export.description import Description
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime
from auxo.tasks import Answer
from auxo.types import Batch


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
        """Return the pixels of an image, brought to a square model's input.

        Raises:
            DataError: it is no image, or the model's input is not square and the image has another size.
        """
        task = self.description.task
        pixels = decode_image(read_bytes(str(path)), where=str(path), image_size=self.description.image_size)
        channels, height, width = pixels.shape
        if (channels, height, width) != task.image_shape:
            expected = f"an image of {task.width}x{task.height} pixels and {task.channels} channels"
            fix = "resize it; auxo does so only for square inputs"
            raise DataError(expected, f"{width}x{height} and {channels} in {path}", fix)
        return pixels

    def answers(self, pixels: UInt8[Tensor, "batch channels height width"], *, where: Sequence[Path]) -> list[Answer]:
        """Return what the network says of images, for a person.

        Args:
            pixels: of the images.
            where: they were read from, for the message.

        Raises:
            NonFiniteError: an output is not finite, so that the answer would say nothing of the image.
        """
        outputs = self.outputs(pixels).float().cpu()
        for place, is_finite in zip(where, outputs.isfinite().flatten(1).all(1).tolist(), strict=True):
            if not is_finite:
                fix = "the weights have diverged; train again with a lower learning rate"
                raise NonFiniteError(f"finite outputs of {self.path} for {place}", "others", fix)
        return self.description.task.answers(outputs)


def predictor_of(model: TrainedModel, runtime: Runtime) -> Predictor:
    """Return what a model predicts on the device and in the precision of a runtime."""

    def outputs(pixels: UInt8[Tensor, "batch c h w"]) -> Tensor:
        nothing = torch.zeros(len(pixels), dtype=torch.int64, device=runtime.device)
        batch = Batch(runtime.to_device(pixels), {}, nothing)
        with torch.inference_mode(), runtime.autocast():
            return model.method.predict(model.pipeline(batch, seed=None).images)

    return Predictor(Description.of(model), model.path, outputs)
