"""What the weights of several encoders look like: by class, by image, and the images at which they are largest."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.interfaces import AbstractImageReader, Exhibit, ImageExhibit, TableExhibit, TextExhibit
from auxo.types import LABEL

_PER_ROW = 8  # images at which an encoder counts most


def exhibit_attention(
    images: AbstractImageReader,
    weights: Float[Tensor, "n encoders"],
    *,
    names: Sequence[str],
    class_names: Sequence[str],
) -> tuple[Exhibit, ...]:
    """Return a sentence on the weights, their means by class, the images where each is largest, and all of them.

    Args:
        images: of the split.
        weights: of each encoder at each image, means over heads; they sum to 1.
        names: of the encoders.
        class_names: as many as there are classes.
    """
    labels, mean = images.targets[LABEL], weights.mean(0)
    entropy = -(weights * weights.clamp_min(1e-12).log()).sum(1).mean()
    told = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, mean.tolist(), strict=True))
    text = (
        f"Mean weight over {len(weights)} images of {images.split}: {told}. Within an image they are spread over "
        f"{entropy.exp():.1f} of {len(names)} encoders, and from image to image a weight varies by "
        f"{weights.std(0).mean():.2f} (standard deviation). A weight says what the fused vector is made of, not what "
        "the encoder is worth."
    )
    rows: list[tuple[str | int | float, ...]] = []
    for number, name in enumerate(class_names):
        own = weights[labels == number]
        cells = own.mean(0).tolist() if len(own) else [float("nan")] * len(names)
        rows.append((name, len(own), *(f"{cell:.3f}" for cell in cells)))
    rows.append(("all", len(weights), *(f"{cell:.3f}" for cell in mean.tolist())))
    largest = [column.topk(min(_PER_ROW, len(weights))).indices for column in weights.T]
    captions = [
        f"{name} {weights[place, number]:.2f}"
        for number, (name, places) in enumerate(zip(names, largest, strict=True))
        for place in places.tolist()
    ]
    each = [
        (place, class_names[label] if label >= 0 else "", *(f"{value:.4f}" for value in row))
        for place, (label, row) in enumerate(zip(labels.tolist(), weights.tolist(), strict=True))
    ]
    return (
        TextExhibit("Attention", text),
        TableExhibit("Mean attention by class", ("class", "images", *names), rows),
        ImageExhibit("Images to which each encoder counts most", images.pixels(torch.cat(largest)), captions, _PER_ROW),
        TableExhibit("Attention by image", ("image", "class", *names), each, is_open=False),
    )
