"""Jigsaw: the sets of orders, the tiles, what is left over."""

import pytest
import torch

from auxo.errors import ConfigError, ShapeError
from auxo.pretexts.jigsaw import Jigsaw, distant_orders


def least_distance(orders):
    """Smallest number of places in which two orders differ."""
    distances = (orders[:, None] != orders[None]).sum(2)
    return int((distances + 99 * torch.eye(len(orders), dtype=torch.int64)).min())


# Of all 9! = 362,880 orders 29,143, 6,883 and 1,339 differ from a given one in fewer than 7, 6 and 5 places. While that
# many times the orders chosen so far is below 9!, some order is at least so far from all of them.
@pytest.mark.parametrize(("count", "least"), [(9, 7), (30, 6), (64, 5), (100, 5)])
def test_distant_orders__nine_tiles__stay_far_apart(count, least):
    orders = distant_orders(9, count)
    assert orders.shape == (count, 9)
    assert orders[0].tolist() == list(range(9))
    assert torch.equal(orders.sort(1).values, torch.arange(9).expand(count, 9))
    assert len(orders.unique(dim=0)) == count
    assert least_distance(orders) >= least
    assert torch.equal(orders[:9], distant_orders(9, 9))  # larger sets begin with the smaller ones


def test_distant_orders__four_tiles__begin_with_four_at_the_largest_distance():
    assert least_distance(distant_orders(4, 4)) == 4
    assert distant_orders(4, 24).unique(dim=0).shape == (24, 4)


@pytest.mark.parametrize(("tiles", "count"), [(4, 25), (10, 5), (3, 0)])
def test_distant_orders__impossible__is_refused(tiles, count):
    with pytest.raises(ConfigError, match=f"got {count} permutations of {tiles}"):
        distant_orders(tiles, count)


def test_make_all__numbered_tiles__stand_in_the_order_of_the_class():
    tiles = torch.arange(9.0).view(3, 3).repeat_interleave(4, 0).repeat_interleave(4, 1)
    pretext = Jigsaw(num_orders=5)
    made = pretext.make_all(tiles.expand(1, 3, 12, 12))
    assert made.targets.tolist() == [0, 1, 2, 3, 4]
    for inputs, order in zip(made.inputs, pretext.orders, strict=True):
        assert torch.equal(inputs[0, ::4, ::4].flatten().long(), order)


def test_make_all__side_no_multiple_of_the_grid__leaves_the_rest_in_place():
    image = torch.rand(1, 3, 14, 13)
    made = Jigsaw().make_all(image)
    assert torch.equal(made.inputs[:, :, 12:], image[:, :, 12:].expand(30, -1, -1, -1))
    assert torch.equal(made.inputs[:, :, :, 12:], image[:, :, :, 12:].expand(30, -1, -1, -1))
    assert torch.equal(made.inputs[0], image[0])


def test_num_outputs__default__is_24_and_30():
    assert Jigsaw(grid=2).num_outputs == 24
    assert Jigsaw().num_outputs == 30


@pytest.mark.parametrize(("grid", "count"), [(2, 25), (3, 1001), (3, 1)])
def test_jigsaw__too_many_or_few_orders__are_refused(grid, count):
    with pytest.raises(ConfigError, match=f"num-orders .*got {count}"):
        Jigsaw(grid=grid, num_orders=count)


def test_make_all__fewer_pixels_than_tiles__is_refused():
    with pytest.raises(ShapeError, match="at least 3x3 pixels, got 2x8 pixels"):
        Jigsaw().make_all(torch.zeros(1, 3, 2, 8))
