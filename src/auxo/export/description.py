"""What an exported network says of itself: its task, and how an image becomes its input."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NotRequired, TypedDict

import auxo
from auxo.data.decode import FORMATS
from auxo.data.fitting import PADDING, FitMethod, ImageFit
from auxo.errors import CheckpointError
from auxo.files.json_text import read_json
from auxo.registry.outside import short_name
from auxo.runs.document import allow_code
from auxo.runs.model import TrainedModel
from auxo.tasks import AbstractTask, TaskConfig

FORMAT = 2


class _Format(TypedDict):
    """What every description says."""

    format: int


class _Normalisation(TypedDict):
    """How pixels are normalised."""

    mean: list[float]
    std: list[float]


class _Pixels(TypedDict):
    """What is read of the input."""

    normalisation: _Normalisation
    any_size: NotRequired[bool]
    resized: NotRequired[bool]
    fit: NotRequired[FitMethod]


class _Common(TypedDict):
    """What all formats have."""

    input: _Pixels


class _Task(TypedDict):
    """A task and its fields."""

    name: str
    fields: dict[str, Any]


class _Present(TypedDict):
    """What this format has."""

    task: _Task


class _Size(TypedDict):
    """The size of an input."""

    channels: int
    height: int
    width: int


class _Former(TypedDict):
    """What the format before this one had."""

    labels: list[str]
    class_counts: list[int]
    input: _Size


@dataclass(frozen=True)
class Description:
    """The task and the input of an exported network; it travels inside every exported file.

    Args:
        task: what is predicted, and the size of the input.
        mean: per-channel mean of pixels in [0, 1] that the network subtracts; length ``channels``.
        std: per-channel standard deviation that it then divides by; length ``channels``.
        task_name: what options call the task; one outside auxo by its file's name alone.
        was_resized: whether the training images were resized.
        takes_any_size: whether the network answers every pixel of images of any size; else they have that of training.
        fit: how images of another shape were brought to the size.
    """

    task: AbstractTask
    mean: tuple[float, ...]
    std: tuple[float, ...]
    task_name: str
    was_resized: bool = False
    takes_any_size: bool = False
    fit: FitMethod = "crop"

    @classmethod
    def of(cls, model: TrainedModel) -> "Description":
        """Return the description of a trained model."""
        mean, std = tuple(model.pipeline.mean.tolist()), tuple(model.pipeline.std.tolist())
        name = short_name(model.task_name)  # a place on this machine is nobody's business
        found = cls(model.task, mean, std, name, model.was_resized, fit=model.fit)
        return replace(found, takes_any_size=found.answers_any_size)

    @property
    def names(self) -> tuple[str, ...]:
        """What the outputs stand for, in their order; none where they are quantities."""
        return self.task.targets[0].names

    @property
    def answers_any_size(self) -> bool:
        """Whether the task asks for every pixel of images that may have any size."""
        return self.task.targets[0].has_places and not self.task.is_size_fixed

    @property
    def image_size(self) -> ImageFit | None:
        """What images are brought to; ``None`` if the input is not square and training images were of its size."""
        is_brought = self.was_resized or self.task.height == self.task.width
        return ImageFit(self.task.height, self.task.width, self.fit) if is_brought else None

    def preprocess(self) -> dict[str, Any]:
        """Return how an image becomes an input, as JSON values; the steps are those of ``auxo predict``.

        But where every pixel of any image is asked for and the network takes one size only: there ``auxo predict`` cuts
        windows, which are too much for a list of steps.
        """
        task, size = self.task, None if self.takes_any_size else self.image_size
        steps = ["read the first frame of an image of 8 bits per channel"]
        if size is not None:
            steps.append(
                "of a JPEG: let the decoder scale by 1/2, 1/4 or 1/8, no side below "
                f"{_write_size(2 * size.width, 2 * size.height)} (Pillow's draft)"
            )
        steps.append("turn it upright as its EXIF orientation says")
        steps.append("convert it to RGB: grey is repeated over the channels, transparency is dropped")
        if self.takes_any_size:
            steps += self._describe_free_size()
        elif size is None:
            steps.append(f"check that it has {task.width}x{task.height} pixels, width x height; nothing is resized")
        else:
            steps.append(_describe_fit(size))
        steps += ["divide by 255", "order the axes as batch, channels, height, width"]
        return {
            "channels": task.channels,
            "height": task.height,
            "width": task.width,
            "colours": "RGB",
            "dtype": "float32",
            "range": [0, 1],
            "layout": "NCHW",
            "any_size": self.takes_any_size,
            "resized": self.was_resized,
            "fit": self.fit,
            "steps": steps,
            "files": list(FORMATS),
            "normalisation": {
                "place": "inside the network, (pixels - mean) / std; do not normalise before it",
                "mean": list(self.mean),
                "std": list(self.std),
            },
            "output": self._describe_output(),
        }

    def _describe_free_size(self) -> list[str]:
        """Return what is done to the size of images of any size."""
        if not self.was_resized:
            return ["keep its size"]
        covers = (
            f"enlarge or reduce it until it just covers {self.task.width}x{self.task.height} pixels, width x height"
        )
        return [f"{covers}, without cropping (bilinear, antialiased); bring the answers back to its size"]

    def _describe_output(self) -> str:
        """Return what the network gives."""
        if self.task.targets[0].has_places:
            classes = "classes, height, width), in the order of the labels; argmax over axis 1 gives the classes"
            return f"logits, shape (batch, {classes if self.names else 'outputs, height, width)'}"
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
        expected = f"an export of auxo at {origin}"
        try:
            number = read_json(text, _Format, expected=expected, fix=fix)["format"]
            if number not in (1, FORMAT):
                raise CheckpointError(f"export format {FORMAT} in {origin}", str(number), fix)
            pixels = read_json(text, _Common, expected=expected, fix=fix)["input"]
            if number == FORMAT:
                record = read_json(text, _Present, expected=expected, fix=fix)["task"]
            else:
                record = _former_task(read_json(text, _Former, expected=expected, fix=fix))
        except CheckpointError as error:
            if error.expected != expected:
                raise
            raise CheckpointError(expected, "a foreign file", fix) from error
        task = _task_kind(record["name"], code).from_record(record["fields"], origin=origin)
        mean, std = (tuple(pixels["normalisation"][key]) for key in ("mean", "std"))
        free, resized = pixels.get("any_size", False), pixels.get("resized", False)
        fit = pixels.get("fit", "crop")
        return cls(task, mean, std, record["name"], was_resized=resized, takes_any_size=free, fit=fit)


def _describe_fit(fit: ImageFit) -> str:
    """Return what is done to the size of an image."""
    sides, smooth = f"{fit.width}x{fit.height}", "bilinear, antialiased"
    if fit.method == "letterbox":
        grey = f"fill the rest on both sides alike with the grey {PADDING} of 255"
        return f"resize it until it just fits into {sides} and {grey}: {smooth} (Pillow's ImageOps.pad)"
    if fit.method == "squash":
        return f"resize it to {sides}, height and width apart: {smooth} (Pillow's resize)"
    what = "square" if fit.width == fit.height else f"part of the shape {sides}"
    return f"cut out the largest {what} in its centre and resize that to {sides}: {smooth} (Pillow's ImageOps.fit)"


def _write_size(width: int, height: int) -> str:
    """Return a side, or width and height."""
    return str(width) if width == height else f"{width}x{height}"


def _former_task(found: _Former) -> _Task:
    """Return the task in a description of the format before this one, which knew classes only."""
    size = found["input"]
    fields: dict[str, Any] = {"class_names": found["labels"], "class_counts": found["class_counts"]}
    fields |= {"channels": size["channels"], "height": size["height"], "width": size["width"]}
    return _Task(name="classification", fields=fields)


def _task_kind(name: str, code: Sequence[str]) -> type[AbstractTask]:
    """Return the class of a task, from a file that is allowed where it is outside auxo."""
    return TaskConfig(name=allow_code({"task": name}, code, is_published=True)["task"]).kind()
