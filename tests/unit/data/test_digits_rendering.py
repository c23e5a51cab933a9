import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from auxo.data.digits_rendering import blend_with_photographs, centre_digits, grey_to_rgb
from auxo.errors import DataError


def box(top: int, left: int, height: int, width: int, size: int = 16, value: int = 200) -> Tensor:
    digit = torch.zeros(1, size, size, dtype=torch.uint8)
    digit[0, top : top + height, left : left + width] = value
    return digit


def centre_of_mass(digit: Tensor) -> tuple[float, float]:
    weights = digit.double()
    places = torch.arange(digit.shape[0], dtype=torch.float64)
    total = weights.sum()
    return float((weights.sum(1) * places).sum() / total), float((weights.sum(0) * places).sum() / total)


def inked(flags: Tensor) -> int:
    """Distance from the first to the last place above half the full strength."""
    places = (flags.float().amax(0) > 127).nonzero().flatten()
    return int(places[-1] - places[0]) + 1


@given(top=st.integers(0, 5), left=st.integers(0, 5), height=st.integers(3, 10), width=st.integers(3, 10))
def test_centre_digits__any_box__is_twenty_pixels_long_and_centred(
    top: int, left: int, height: int, width: int
) -> None:
    drawn = centre_digits(box(top, left, height, width))[0]
    rows, columns = centre_of_mass(drawn)
    assert rows == pytest.approx(14, abs=0.3)
    assert columns == pytest.approx(14, abs=0.3)
    longer, shorter = max(height, width), min(height, width)
    sides = sorted([inked(drawn), inked(drawn.T)])
    assert sides[1] == pytest.approx(20, abs=1.1)
    assert sides[0] == pytest.approx(20 * shorter / longer, abs=1.1)
    assert drawn.max() == 255


def test_centre_digits__asymmetric_digit__stays_upright() -> None:
    digit = box(2, 3, 10, 3)
    digit[0, 9:12, 3:10] = 200  # an L
    drawn = centre_digits(digit)[0]
    occupied = (drawn > 127).nonzero()
    (top, left), (bottom, right) = occupied.amin(0).tolist(), occupied.amax(0).tolist()
    assert drawn[top + 2, left + 2] > 127
    assert drawn[bottom - 2, right - 2] > 127
    assert drawn[top + 2, right - 2] < 127


def test_centre_digits__several__does_each_on_its_own() -> None:
    digits = torch.cat([box(0, 0, 10, 4), box(4, 6, 5, 8, value=90)])
    assert torch.equal(centre_digits(digits), torch.cat([centre_digits(digit[None]) for digit in digits]))


def test_centre_digits__blank__is_named() -> None:
    with pytest.raises(DataError, match="digit 1, which is blank"):
        centre_digits(torch.cat([box(0, 0, 4, 4), torch.zeros(1, 16, 16, dtype=torch.uint8)]))


def test_blend_with_photographs__black_digits__are_crops_of_the_photographs() -> None:
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(50), indexing="ij")
    photographs = torch.stack([torch.stack([rows, columns, torch.full_like(rows, i)]) for i in (0, 9)]).to(torch.uint8)
    crops = blend_with_photographs(
        torch.zeros(60, 3, 28, 28, dtype=torch.uint8), photographs, generator=torch.Generator().manual_seed(0)
    ).long()
    assert set(crops[:, 2].unique().tolist()) == {0, 9}
    assert (crops[:, 0].diff(dim=1) == 1).all()
    assert (crops[:, 1].diff(dim=2) == 1).all()
    assert crops[:, 0, 0, 0].unique().tolist() == list(range(13))
    assert crops[:, 1, 0, 0].min() == 0
    assert crops[:, 1, 0, 0].max() == 50 - 28


def test_blend_with_photographs__white_and_grey__is_the_absolute_difference() -> None:
    digits = torch.tensor([255, 40], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 28, 28)
    photographs = torch.full((1, 3, 28, 28), 100, dtype=torch.uint8)
    blended = blend_with_photographs(digits, photographs, generator=torch.Generator())
    assert (blended[0] == 155).all()
    assert (blended[1] == 60).all()


def test_grey_to_rgb__grey__repeats_the_channel() -> None:
    grey = torch.arange(18, dtype=torch.uint8).reshape(2, 3, 3)
    assert all(torch.equal(grey_to_rgb(grey)[:, channel], grey) for channel in range(3))
