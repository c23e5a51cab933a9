"""The memory of pixels."""

import torch
from torch.nn import functional

from auxo.pretexts.pixels import PixelSample
from auxo.pretexts.pixels._memory import LabelRings, PixelMemory


def rows_of(*values):
    return torch.tensor(values, dtype=torch.float32).unsqueeze(1)


def test_rings__before_they_are_full__hold_what_was_written_alone():
    rings = LabelRings(3, 4, 1)
    assert len(rings.read().rows) == 0
    rings.write(rows_of(5, 6, 7), torch.tensor([2, 0, 2]), torch.tensor([10, 11, 12]))
    found = rings.read()
    assert found.rows.flatten().tolist() == [6, 5, 7]
    assert found.labels.tolist() == [0, 2, 2]  # label 0 is one like any other
    assert found.images.tolist() == [11, 10, 12]


def test_rings__more_than_they_hold__drop_the_oldest_of_the_label():
    rings = LabelRings(2, 3, 1)
    for first in range(0, 8, 2):
        rings.write(rows_of(first, first + 1), torch.zeros(2, dtype=torch.int64), torch.tensor([first, first + 1]))
    assert sorted(rings.read().images.tolist()) == [5, 6, 7]
    rings.write(rows_of(*range(20, 27)), torch.zeros(7, dtype=torch.int64), torch.arange(20, 27))
    assert sorted(rings.read().rows.flatten().tolist()) == [24, 25, 26]
    rings.write(rows_of(30), torch.zeros(1, dtype=torch.int64), torch.tensor([30]))
    assert sorted(rings.read().rows.flatten().tolist()) == [25, 26, 30]


def test_memory__a_step__leaves_the_mean_of_each_region_and_some_of_its_own_pixels():
    rows = functional.normalize(torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    sample = PixelSample(
        *(torch.tensor(part) for part in ([0] * 5 + [1] * 2, [*range(7)], [0, 0, 0, 1, 1, 1, 1], [0, 1, 2, 0, 1, 0, 1]))
    )
    memory = PixelMemory(2, size=4, dim=3, pixels_per_label=2)
    memory.write(rows, sample, torch.tensor([40] * 5 + [41] * 2))
    means = memory.regions.read()
    expected = functional.normalize(torch.stack([rows[:3].mean(0), rows[3:5].mean(0), rows[5:].mean(0)]), dim=1)
    torch.testing.assert_close(means.rows, expected)
    assert (means.labels.tolist(), means.images.tolist()) == ([0, 1, 1], [40, 40, 41])
    pixels = memory.pixels.read()
    assert torch.equal(pixels.rows, rows[[0, 1, 3, 4, 5, 6]])
    assert (pixels.labels.tolist(), pixels.images.tolist()) == ([0, 0, 1, 1, 1, 1], [40, 40, 40, 40, 41, 41])
    assert len(memory.read().rows) == 9
