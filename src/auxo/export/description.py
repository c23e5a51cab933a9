"""What an exported network says of itself: its task, and how an image becomes its input."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import auxo
from auxo.data.decode import FORMATS
from auxo.errors import CheckpointError
from auxo.registry.outside import short_name
from auxo.runs.document import allow_code
from auxo.runs.model import TrainedModel
from auxo.tasks import AbstractTask, TaskConfig

FORMAT = 2


@dataclass(frozen=True)
class Description:
    """The task and the input of an exported network; it travels inside every exported file.

    Args:
        task: what is predicted, and the size of the input.
        mean: per-channel mean of pixels in [0, 1] that the network subtracts; length ``channels``.
        std: per-channel standard deviation that it then divides by; length ``channels``.
        task_name: what options call the task; one outside auxo by its file's name alone.
    """

    task: AbstractTask
    mean: tuple[float, ...]
    std: tuple[float, ...]
    task_name: str

    @classmethod
    def of(cls, model: TrainedModel) -> "Description":
        """Return the description of a trained model."""
        mean, std = tuple(model.pipeline.mean.tolist()), tuple(model.pipeline.std.tolist())
        return cls(model.task, mean, std, short_name(model.task_name))  # a place on this machine is nobody's business

    @property
    def names(self) -> tuple[str, ...]:
        """What the outputs stand for, in their order; none where they are quantities."""
        return self.task.targets[0].names

    @property
    def image_size(self) -> int | None:
        """Side of a square input, to which images are brought; ``None`` if it is not square."""
        return self.task.height if self.task.height == self.task.width else None

    def preprocess(self) -> dict[str, Any]:
        """Return how an image becomes an input, as JSON values; the steps are those of ``auxo predict``."""
        task, size = self.task, self.image_size
        steps = ["read the first frame of an image of 8 bits per channel"]
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
            "output": self._describe_output(),
        }

    def _describe_output(self) -> str:
        """Return what the network gives."""
        if self.task.targets[0].has_places:
            return "logits, shape (batch, outputs, height, width)"
        if not self.names:
            return "numbers, shape (batch, outputs)"
        return "logits, shape (batch, classes), in the order of the labels; softmax gives probabilities"

    def to_json(self) -> str:
        """Return the description as JSON on one line, for the metadata of a file."""
        return json.dumps(
            {
                "format": FORMAT,
                "auxo": auxo.__version__,
                "labels": list(self.names),
                "task": {"name": self.task_name, "fields": self.task.to_record()},
                "input": self.preprocess(),
            }
        )

    @classmethod
    def from_json(cls, text: str, *, origin: str, code: Sequence[str] = ()) -> "Description":
        """Return the description that JSON of :meth:`to_json` holds.

        Args:
            text: from the metadata of a file.
            origin: the file's name, for the message.
            code: Python files that may be run, one of them for a task outside auxo.

        Raises:
            ConfigError: the task is outside auxo, and its file is not allowed.
            CheckpointError: it is something else, or of another format.
        """
        fix = "name a file that auxo export wrote"
        try:
            found = json.loads(text)
            if found["format"] not in (1, FORMAT):
                raise CheckpointError(f"export format {FORMAT} in {origin}", str(found["format"]), fix)
            pixels = found["input"]
            record = found["task"] if found["format"] == FORMAT else _former_task(found)
            name, fields = str(record["name"]), dict(record["fields"])
            mean, std = (tuple(map(float, pixels["normalisation"][name])) for name in ("mean", "std"))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"an export of auxo at {origin}", "a foreign file", fix) from error
        return cls(_task_kind(name, code).from_record(fields, origin=origin), mean, std, name)


def _former_task(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task in a description of the format before this one, which knew classes only."""
    pixels = found["input"]
    fields = {"class_names": list(map(str, found["labels"])), "class_counts": list(map(int, found["class_counts"]))}
    fields |= {key: int(pixels[key]) for key in ("channels", "height", "width")}
    return {"name": "classification", "fields": fields}


def _task_kind(name: str, code: Sequence[str]) -> type[AbstractTask]:
    """Return the class of a task, from a file that is allowed where it is outside auxo."""
    return TaskConfig(name=allow_code({"task": name}, code, is_published=True)["task"]).kind()
