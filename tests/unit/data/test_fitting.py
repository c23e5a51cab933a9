import numpy as np
import pytest
from PIL import Image

from auxo.data.fitting import PADDING, FitMethod, ImageFit

NEAREST = Image.Resampling.NEAREST


def columns(width: int, height: int) -> Image.Image:
    """An image whose pixels have the number of their column."""
    return Image.fromarray(np.tile(np.arange(width, dtype=np.uint8), (height, 1)))


def pixels(image: Image.Image) -> list[list[int]]:
    found: list[list[int]] = np.asarray(image).tolist()
    return found


def test_apply__wide_image__is_cut_padded_or_squashed() -> None:
    wide = columns(8, 4)
    assert pixels(ImageFit(4, 4, "crop").apply(wide, NEAREST)) == [[2, 3, 4, 5]] * 4
    assert pixels(ImageFit(4, 4, "squash").apply(wide, NEAREST)) == [[1, 3, 5, 7]] * 4
    grey = [PADDING] * 4
    assert pixels(ImageFit(4, 4, "letterbox").apply(wide, NEAREST)) == [grey, [1, 3, 5, 7], [1, 3, 5, 7], grey]


def test_apply__tall_image__has_grey_to_the_left_and_right() -> None:
    boxed = np.asarray(ImageFit(4, 8, "letterbox").apply(columns(4, 4).convert("RGB"), NEAREST))
    assert boxed.shape == (4, 8, 3)
    assert (boxed[:, [0, 1, 6, 7]] == PADDING).all()
    assert boxed[0, 2:6, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["crop", "letterbox", "squash"])
def test_apply__image_of_the_size__stays(method: FitMethod) -> None:
    image = columns(6, 5)
    assert ImageFit(5, 6, method).apply(image, Image.Resampling.BILINEAR) is image
