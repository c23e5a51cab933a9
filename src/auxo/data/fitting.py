"""How images of different sizes are brought to one: cropped, padded or squashed."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image, ImageOps

FitMethod: TypeAlias = Literal["crop", "letterbox", "squash"]
"""What is done to an image of another shape than is asked for."""

PADDING = 114
"""The grey, of 0..255, beside an image in a letterbox; that of github.com/ultralytics/yolov5, near ImageNet's mean."""


@dataclass(frozen=True)
class ImageFit:
    """The size that images are brought to, and how.

    "crop" scales an image until it just covers the size, and cuts off what stands out on two sides alike. "letterbox"
    scales it until it just fits in, and fills the rest with grey. "squash" scales height and width apart. An image of
    the size stays as it is.

    Args:
        height: pixels.
        width: pixels.
        method: see above.

    Example:
        >>> wide = Image.new("L", (8, 4), 255)
        >>> ImageFit(2, 2, "letterbox").apply(wide, Image.Resampling.NEAREST).getcolors()
        [(2, 114), (2, 255)]
    """

    height: int
    width: int
    method: FitMethod = "crop"

    def apply(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        """Return an image of the size; those that become smaller are smoothed where ``resampling`` does."""
        size = (self.width, self.height)
        if image.size == size:
            return image
        if self.method == "letterbox":
            grey = PADDING if len(image.getbands()) == 1 else (PADDING,) * len(image.getbands())
            return ImageOps.pad(image, size, method=resampling, color=grey)
        if self.method == "squash":
            return image.resize(size, resampling)
        return ImageOps.fit(image, size, method=resampling)
