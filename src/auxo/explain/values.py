"""What a method tells of each image in numbers, such as how much each of several encoders counts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.explain.config import ExplainConfig
from auxo.explain.subject import Subject


class ToldValues(NamedTuple):
    """Numbers beside images.

    Args:
        rows: of the means over each class, then of the images.
        note: the means over all, for the terminal.
    """

    rows: Sequence[Mapping[str, Any]]
    note: str


def tell_values(subject: Subject, classes: list[int], config: ExplainConfig) -> ToldValues | None:
    """Return what the method tells of the images of some classes; ``None`` where it tells nothing.

    Args:
        subject: the model and the images.
        classes: numbers of the classes.
        config: which images are shown on the map of points: the same ones.
    """
    indices = config.spread(subject.right, classes)
    values = _read_values(subject, indices)
    if not values:
        return None
    right = subject.right
    of_images = right.values[indices]
    rows: list[dict[str, Any]] = []
    for number in classes:
        own = of_images == number
        means = {name: float(column[own].mean()) for name, column in values.items()}
        rows.append({"kind": "class", "split": subject.split, "label": right.names[number], "count": int(own.sum())})
        rows[-1] |= means
    for place, index in enumerate(indices.tolist()):
        told = {name: float(column[place]) for name, column in values.items()}
        image = {"split": subject.split, "index": index, "image": subject.source.describe(index)}
        rows.append({"kind": "image", **image, "label": right.names[int(of_images[place])], **told})
    overall = ", ".join(f"{name} {float(column.mean()):.2f}" for name, column in values.items())
    return ToldValues(rows, f"values: {overall}, means over {len(indices)} images; by class and image in values.jsonl")


@torch.no_grad()
def _read_values(subject: Subject, indices: Int[Tensor, " n"]) -> dict[str, Float[Tensor, " n"]]:
    """Return the numbers of the images at some positions, by name, on the CPU."""
    found = [subject.model.method.image_values(inputs.images) for inputs in subject.inputs(indices)]
    return {name: torch.cat([each[name] for each in found]).float().cpu() for name in found[0]}
