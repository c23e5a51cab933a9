"""A convolution with batch norm, and maps enlarged by bilinear interpolation."""

import pytest
import torch

from auxo.layers.convolutions import build_convolution, enlarge_maps


@pytest.mark.parametrize(("stride", "dilation", "side"), [(1, 1, 9), (1, 4, 9), (2, 1, 5), (3, 1, 3)])
def test_build_convolution__any_stride__divides_the_size_rounded_up(stride, dilation, side):
    layer = build_convolution(3, 5, stride=stride, dilation=dilation)
    assert layer(torch.rand(2, 3, 9, 9)).shape == (2, 5, side, side)


def test_build_convolution__dilation__reads_cells_that_far_apart():
    convolution = build_convolution(1, 1, dilation=3)[0]
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1.0
    reached = convolution(image)[0, 0].nonzero()
    assert {tuple(place) for place in reached.tolist()} == {(r, c) for r in (1, 4, 7) for c in (1, 4, 7)}


@pytest.mark.parametrize("size", [(12, 20), (7, 9)])
def test_enlarge_maps__values_that_rise_evenly__go_on_rising_between_the_centres_of_cells(size):
    rows, columns = torch.arange(4.0).view(-1, 1), torch.arange(5.0)
    found = enlarge_maps((2 * rows + 3 * columns)[None, None], size)[0, 0]
    # The centre of pixel i of n lies at (i + 1/2) / n of the side, that of cell j of m at (j + 1/2) / m; rims are flat.
    down = ((torch.arange(size[0]) + 0.5) * 4 / size[0] - 0.5).clamp(0, 3)
    across = ((torch.arange(size[1]) + 0.5) * 5 / size[1] - 0.5).clamp(0, 4)
    assert torch.allclose(found, 2 * down.view(-1, 1) + 3 * across, atol=1e-5)


def test_enlarge_maps__same_size__are_the_maps():
    maps = torch.rand(1, 2, 3, 4)
    assert torch.equal(enlarge_maps(maps, (3, 4)), maps)
