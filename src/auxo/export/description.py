"""What an exported network says of itself: its classes, and how a picture becomes its input."""

import json
from dataclasses import dataclass
from typing import Any

import auxo
from auxo.data.decode import FORMATS
from auxo.errors import CheckpointError
from auxo.training import TrainedModel
from auxo.types import Task

__all__ = ["Description"]

FORMAT = 1


@dataclass(frozen=True)
class Description:
    """The classes and the input of an exported network; it travels inside every exported file.

    Args:
        task: classes and size of the input.
        mean: per-channel mean of pixels in [0, 1] that the network subtracts; length ``channels``.
        std: per-channel standard deviation that it then divides by; length ``channels``.
    """

    task: Task
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, model: TrainedModel) -> "Description":
        """Return the description of a trained model."""
        return cls(model.task, tuple(model.pipeline.mean.tolist()), tuple(model.pipeline.std.tolist()))

    @property
    def image_size(self) -> int | None:
        """Side of a square input, to which pictures are brought; ``None`` if it is not square."""
        return self.task.height if self.task.height == self.task.width else None

    def preprocess(self) -> dict[str, Any]:
        """Return how a picture becomes an input, as JSON values; the steps are those of ``auxo predict``."""
        task, size = self.task, self.image_size
        steps = ["read the first frame of a picture of 8 bits per channel"]
        if size is not None:
            steps.append(
                f"of a JPEG: let the decoder scale by 1/2, 1/4 or 1/8, no side below {2 * size} (Pillow's draft)"
            )
        steps.append("turn it upright as its EXIF orientation says")
        steps.append("convert it to RGB: grey is repeated over the channels, transparency is dropped")
        if size is None:
            steps.append(f"check that it has {task.width}x{task.height} pixels, width x height; nothing is resized")
        else:
            steps.append(
                f"cut out the largest square in its centre and resize that to {size}x{size}: bilinear, antialiased "
                "(Pillow's ImageOps.fit)"
            )
        steps += ["divide by 255", "order the axes as batch, channels, height, width"]
        return {
            "channels": task.channels,
            "height": task.height,
            "width": task.width,
            "colours": "RGB",
            "dtype": "float32",
            "range": [0, 1],
            "layout": "NCHW",
            "steps": steps,
            "files": list(FORMATS),
            "normalisation": {
                "place": "inside the network, (pixels - mean) / std; do not normalise before it",
                "mean": list(self.mean),
                "std": list(self.std),
            },
            "output": "logits, shape (batch, classes), in the order of the labels; softmax gives probabilities",
        }

    def to_json(self) -> str:
        """Return the description as JSON on one line, for the metadata of a file."""
        return json.dumps(
            {
                "format": FORMAT,
                "auxo": auxo.__version__,
                "labels": list(self.task.class_names),
                "class_counts": list(self.task.class_counts),
                "input": self.preprocess(),
            }
        )

    @classmethod
    def from_json(cls, text: str, *, origin: str) -> "Description":
        """Return the description that JSON of :meth:`to_json` holds.

        Args:
            text: from the metadata of a file.
            origin: the file's name, for the message.

        Raises:
            CheckpointError: it is something else, or of another format.
        """
        fix = "name a file that auxo export wrote"
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise CheckpointError(f"export format {FORMAT} in {origin}", str(found["format"]), fix)
            pixels = found["input"]
            task = Task(
                tuple(map(str, found["labels"])),
                int(pixels["channels"]),
                int(pixels["height"]),
                int(pixels["width"]),
                class_counts=tuple(map(int, found["class_counts"])),
            )
            mean, std = (tuple(map(float, pixels["normalisation"][name])) for name in ("mean", "std"))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"an export of auxo at {origin}", "a foreign file", fix) from error
        return cls(task, mean, std)
