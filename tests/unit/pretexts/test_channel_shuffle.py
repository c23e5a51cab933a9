"""Channel shuffle: the six orders, the quadrant, other numbers of channels."""

import pytest
import torch

from auxo.errors import ShapeError
from auxo.pretexts.channel_shuffle import ORDERS, ChannelShuffle


def test_make_all__coloured_image__has_the_orders_by_name():
    image = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    made = ChannelShuffle().make_all(image)
    names = ["".join({10: "R", 20: "G", 30: "B"}[int(value)] for value in inputs[:, 0, 0]) for inputs in made.inputs]
    assert names[:6] == ["RGB", "RBG", "GRB", "GBR", "BRG", "BGR"]
    assert names[6:] == ["RGB"] * 18  # the other quadrants
    assert made.targets.tolist() == list(range(6)) * 4


def test_orders__the_inverse_order__restores_the_image():
    images = torch.rand(1, 3, 2, 2)
    for code, order in enumerate(ORDERS):
        inverse = ORDERS.index(tuple(order.index(channel) for channel in range(3)))
        shuffled = ChannelShuffle().transform(images[0], code)
        assert torch.equal(ChannelShuffle().transform(shuffled, inverse), images[0])


@pytest.mark.parametrize("channels", [1, 4])
def test_make_all__other_channels__are_refused(channels):
    with pytest.raises(ShapeError, match=f"images of 3 channels to shuffle, got {channels}"):
        ChannelShuffle().make_all(torch.zeros(2, channels, 4, 4))
