"""Pair and gather_from: what belongs together, and what is too little to compare."""

import pytest
import torch

from auxo.errors import ShapeError
from auxo.pretexts import Pair, gather_from
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch


def runtime(num_processes=1, **options):
    config = RuntimeConfig(device="cpu", **options)
    return Runtime(config=config, device=torch.device("cpu"), num_processes=num_processes)


def batch(count, **options):
    return Batch(torch.zeros(count, 1, 2, 2), {"label": torch.arange(count)}, torch.arange(count), **options)


def test_pair__views_of_different_numbers__are_refused():
    with pytest.raises(ShapeError, match="two views of the same images, got 3 and 2 images"):
        Pair(torch.zeros(3, 1, 2, 2), torch.zeros(2, 1, 2, 2))


def test_gather__one_process__is_the_identity():
    rows = torch.ones(3, 2, requires_grad=True)
    assert gather_from(runtime(), batch(3))(rows) is rows
    assert Pair(torch.zeros(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)).gather(rows) is rows


def test_gather_from__one_image__has_nothing_to_compare():
    with pytest.raises(ShapeError, match="two images or more to compare, got 1: choose a batch size"):
        gather_from(runtime(), batch(1))


def test_gather_from__one_image_of_a_process__needs_synchronised_batch_norm():
    part = batch(1, first=2, total=3, num_processes=2)
    with pytest.raises(ShapeError, match="in every process, without synchronised batch norm, got 1"):
        gather_from(runtime(num_processes=2, sync_batch_norm=False), part)
    assert callable(gather_from(runtime(num_processes=2), part))
