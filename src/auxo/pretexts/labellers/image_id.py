"""The number of the image: what is alike lies in one image, as in contrast without other images (a lower bound)."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from auxo.pretexts.labellers._interface import AbstractPixelLabeller, LabellerConfig, LabelSource
from auxo.types import Batch

SOURCE = "Ours: a control, under which no pixel has a positive in another image."


class ImageId(AbstractPixelLabeller):
    """Labels every pixel by the position of its image in the split."""

    @dataclass(frozen=True, kw_only=True)
    class Config(LabellerConfig):
        """It has no options."""

        is_costly = False

        def num_labels(self, num_classes: int) -> None:
            """Return nothing: there are as many as images."""
            del num_classes

        def learn(self, source: LabelSource) -> "ImageId":
            """Return the labeller; it learns nothing."""
            del source
            return ImageId()

    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the position of each image, at all of its pixels."""
        n, _, height, width = batch.images.shape
        return batch.indices.to(batch.images.device).int()[:, None, None].expand(n, height, width)
