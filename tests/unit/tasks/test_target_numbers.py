"""Targets as numbers: classes, quantities, places, and values that say nothing."""

from dataclasses import dataclass

import pytest
import torch

from auxo.errors import ShapeError
from auxo.tasks import Classification, Target


@dataclass(frozen=True)
class Told(Classification):
    """A task with other targets than the class."""

    told: tuple[Target, ...] = ()

    @property
    def targets(self):
        return self.told


def make(*targets):
    return Told(("a", "b"), 3, 8, 8, told=targets)


def test_target_numbers__classes__indicators_and_zeros_where_hidden():
    task = Classification(("a", "b", "c"), 3, 8, 8)
    found = task.encode_targets({"label": torch.tensor([2, -1, 0])})
    assert task.target_widths == (3,)
    assert found.values.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert found.known.tolist() == [[1], [0], [1]]


def test_target_numbers__several_targets__side_by_side():
    task = make(Target("kind", ("a", "b")), Target("size", ignore=-9))
    found = task.encode_targets({"kind": torch.tensor([1, 0]), "size": torch.tensor([7, -9])})
    assert task.target_widths == (2, 1)
    assert found.values.tolist() == [[0, 1, 7], [1, 0, 0]]
    assert found.known.tolist() == [[1, 1], [1, 0]]


def test_target_numbers__places__channels_of_maps():
    task = make(Target("mask", ("a", "b"), True, 255), Target("depth", (), True))
    mask, depth = torch.tensor([[[0, 255], [1, 1]]]), torch.tensor([[[2.5, 3.0], [-1.0, 4.0]]])
    found = task.encode_targets({"mask": mask, "depth": depth})
    assert found.values[0].tolist() == [[[1, 0], [0, 0]], [[0, 0], [1, 1]], [[2.5, 3], [0, 4]]]
    assert found.known[0].tolist() == [[[1, 0], [1, 1]], [[1, 1], [0, 1]]]


@pytest.mark.parametrize(("has_places", "shape"), [(False, (2, 3)), (True, (2, 3, 4, 4))])
def test_target_numbers__several_numbers_of_a_quantity__refused_unless_the_task_says(has_places, shape):
    task = make(Target("normals", (), has_places))
    with pytest.raises(ShapeError, match="one number for each image or place of a quantity"):
        task.encode_targets({"normals": torch.zeros(shape)})
