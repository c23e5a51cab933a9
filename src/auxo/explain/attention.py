"""The Grad-CAM grid: one row of images per class, and rows of numbers that it can be drawn from again."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from auxo.explain.config import ExplainConfig
from auxo.explain.drawing import Drawing
from auxo.explain.figures import Attention, draw_attention
from auxo.explain.grad_cam import choose_layer, grad_cam
from auxo.explain.subject import Inputs, Subject
from auxo.explain.tokens import find_paths

_DECIMALS = 4


class AttentionGrid(NamedTuple):
    """The Grad-CAM maps of a few images of each class.

    Args:
        layer: name of the map that was looked at.
        size: rows and columns that it has.
        rows: of numbers, one per image, class after class.
        grid: the images with their maps, one list per class.
    """

    layer: str
    size: tuple[int, int]
    rows: list[dict[str, Any]]
    grid: list[list[Attention]]


def attend(subject: Subject, classes: list[int], config: ExplainConfig) -> AttentionGrid:
    """Return the Grad-CAM maps of a few images of each class.

    Args:
        subject: the model, which has a class head, and the images.
        classes: numbers of the classes.
        config: what to show.

    Raises:
        ConfigError: the backbone has no such layer, or the prediction does not depend on it.
    """
    layer, size = choose_map(subject, config.layer)
    rows: list[dict[str, Any]] = []
    grid = []
    for number in classes:
        made = explain_images(subject, config.draw(subject.right, number), number, layer, config)
        rows += [row for row, _ in made]
        grid.append([image for _, image in made])
    return AttentionGrid(layer, size, rows, grid)


def explain_images(
    subject: Subject, indices: Int[Tensor, " n"], right: int, layer: str, config: ExplainConfig
) -> list[tuple[dict[str, Any], Attention]]:
    """Return the rows and the images with maps of some images of one class.

    Args:
        subject: the model, which has a class head, and the images.
        indices: positions in the set.
        right: number of their class.
        layer: map to look at, see :func:`choose_map`.
        config: says which class is explained.
    """
    return [
        pair for inputs in subject.inputs(indices) for pair in _explain_batch(subject, inputs, right, layer, config)
    ]


def attention_grid(subject: Subject, classes: list[int], config: ExplainConfig) -> Drawing:
    """Return :func:`attend` as a drawing, one row of images per class, with its rows of numbers.

    Args:
        subject: the model, which has a class head, and the images.
        classes: numbers of the classes, one row each.
        config: what to show.

    Raises:
        ConfigError: the backbone has no such layer, or the prediction does not depend on it.
    """
    layer, size, rows, grid = attend(subject, classes, config)
    text = f"layer {layer} ({size[0]}x{size[1]})"
    of_class = "predicted class" if config.explained == "predicted" else "right class"
    captions = ["blue, solid: the answer was right; orange, dashed: it was wrong"]
    if any(shown.is_partly_covered for row in grid for shown in row):
        captions.append("the map ends at the dotted line: it says nothing of what is outside")
    figure = draw_attention(
        grid,
        title=f"Grad-CAM for the {of_class}: {subject.run}, split {subject.split}, {text}",
        caption="\n".join(captions),
    )
    settings = {
        "kind": "settings",
        "run": subject.run,
        "split": subject.split,
        "layer": layer,
        "map_size": list(size),
        "class": config.explained,
        "seed": config.seed,
    }
    return Drawing([settings, *rows], figure, f"Grad-CAM: {len(rows)} images, {text}")


def choose_map(subject: Subject, layer: str | None) -> tuple[str, tuple[int, int]]:
    """Return the name and the size of the map to look at: the given one, or the default; ``None`` means that."""
    first = next(subject.inputs(torch.tensor([0])))
    maps = subject.features(first.images).maps
    read = list(find_paths(subject.model.method, first.images)) if layer is None else None
    name = choose_layer(maps, layer, read=read)
    return name, (int(maps[name].shape[2]), int(maps[name].shape[3]))


def _explain_batch(
    subject: Subject, inputs: Inputs, right: int, layer: str, config: ExplainConfig
) -> list[tuple[dict[str, Any], Attention]]:
    """Return the rows and the images of a batch of one class."""
    answers = subject.answers(inputs.images)
    classes = answers.predicted if config.explained == "predicted" else torch.full_like(answers.predicted, right)
    device = subject.runtime.device
    maps = grad_cam(subject.model.method, inputs.images, layer=layer, classes=classes.to(device)).float().cpu()
    largest = maps.amax(dim=(1, 2))
    relative = maps / largest.clamp(min=torch.finfo(maps.dtype).tiny).view(-1, 1, 1)
    height, width = inputs.pixels.shape[2:]
    covered = subject.model.method.predicting_backbone.map_size(layer, height=height, width=width)
    names = subject.right.names
    made = []
    for place, index in enumerate(inputs.indices.tolist()):
        row = subject.row(index, int(answers.predicted[place]))
        attention = enlarge_map(relative[place], covered, (int(height), int(width)))
        explained = int(classes[place])
        row |= {
            "explained": names[explained],
            "probability": float(answers.probs[place, explained]),
            "largest": float(largest[place]),
            **_locate_evidence(attention),
            "attention": [[round(value, _DECIMALS) for value in line] for line in relative[place].tolist()],
        }
        shown = Attention(inputs.pixels[place].numpy(), attention.numpy(), row["label"], row["predicted"], covered)
        made.append(({"kind": "image", **row}, shown))
    return made


def enlarge_map(
    attention: Float[Tensor, "rows columns"], covered: tuple[int, int], size: tuple[int, int]
) -> Float[Tensor, "height width"]:
    """Return a map at the size of the image, bilinearly, in the middle that it covers; nothing outside."""
    inner = functional.interpolate(attention[None, None], size=covered, mode="bilinear")[0, 0]
    (top, bottom), (left, right) = (
        ((whole - part) // 2, (whole - part + 1) // 2) for whole, part in zip(size, covered, strict=True)
    )
    return functional.pad(inner, (left, right, top, bottom))


def _locate_evidence(attention: Float[Tensor, "height width"]) -> dict[str, object]:
    """Return the pixel with the most attention and the share of the middle half in both directions, if there is any.

    A map that is the same all over the image has a share of a quarter where the sides are multiples of four; more
    where it covers the middle alone.
    """
    total = float(attention.sum())
    if not total:
        return {"peak": None, "centre_share": None}
    height, width = attention.shape
    centre = attention[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return {"peak": list(divmod(int(attention.argmax()), width)), "centre_share": float(centre.sum()) / total}
