"""An invented task: its turns, its loss and its options. Its gradient is proved in tests/reference."""

from dataclasses import dataclass

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError
from auxo.pretexts.labelling import InventedTask, InventedTaskConfig, require_sub_classes
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch

RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
NAMES = ("arrow", "l", "t", "wedge")
TASK = Classification(class_names=NAMES, channels=3, height=28, width=28, class_counts=(6, 6, 6, 6))


def make(**options):
    config = InventedTaskConfig(**{"sub_classes": (2, 3, 1, 2), "hidden": 16, **options})
    return InventedTask(config, Networks(BackboneConfig(), TASK, seed=0))


def make_batch():
    source = oriented_shapes(12, size=28, seed=5)
    labels = source.columns["label"].values.clamp(max=3)
    return Batch(source.images.float() / 127.5 - 1, {"label": labels}, torch.arange(12))


@pytest.mark.parametrize(("every", "length", "count"), [(1, 5, 5), (2, 5, 2), (3, 7, 2), (4, 8, 2), (30, 7, 1)])
def test_find_turn__any_length_of_an_epoch__counts_up_and_is_equally_often_in_every_epoch(every, length, count):
    config = InventedTaskConfig(sub_classes=(2,), every=every)
    turns = [config.find_turn(step, length=length) for step in range(3 * length)]
    assert [turn for turn in turns if turn is not None] == list(range(3 * count))
    for epoch in range(3):
        assert sum(turn is not None for turn in turns[epoch * length :][:length]) == count


def test_find_turn__no_invented_task__never_comes():
    assert [InventedTaskConfig().find_turn(step, length=4) for step in range(8)] == [None] * 8
    assert InventedTaskConfig().views == {}


def test_losses__labels_of_one_sub_class__are_the_focal_loss_at_the_weight():
    task = make(weight=0.5, gamma=2.0)
    features = torch.randn(3, 84, generator=torch.Generator().manual_seed(0))
    labels = torch.nn.functional.one_hot(torch.tensor([0, 3, 7]), 8).float()
    chances = torch.softmax(task.head(features), 1)[torch.arange(3), torch.tensor([0, 3, 7])]
    expected = -0.5 * (1 - chances) ** 2 * chances.log()
    torch.testing.assert_close(task.losses(features, labels, runtime=RUNTIME), expected)


def test_label__batch__sums_to_one_within_the_class_and_has_no_graph():
    task, batch = make(), make_batch()
    labels = task.label(batch, runtime=RUNTIME)
    assert not labels.requires_grad
    torch.testing.assert_close(labels.sum(1), torch.ones(12))
    starts = (0, 2, 5, 6, 8)
    for row, label in zip(labels, batch.labels.tolist(), strict=True):
        assert row[starts[label] : starts[label + 1]].sum().item() == pytest.approx(1.0)


def test_views__labels_judged_by_held_out_images__are_of_the_split_meta():
    assert InventedTaskConfig(sub_classes=(2,), split="meta").views["outer"].split == "meta"
    assert InventedTaskConfig(sub_classes=(2,)).views["outer"].split == "train"


@dataclass(frozen=True)
class Other(Classification):
    """A task that is no plain classification only in name."""


def test_build__task_of_classes_by_another_name__is_served():
    task = Other(NAMES, 3, 28, 28)
    invented = InventedTask(InventedTaskConfig(sub_classes=(2,)), Networks(BackboneConfig(), task, seed=0))
    assert invented.sub_classes.total == 8


def test_options__of_no_task__are_refused():
    require_sub_classes(InventedTaskConfig())
    with pytest.raises(ConfigError, match=r"invented\.sub-classes, got none"):
        require_sub_classes(InventedTaskConfig(weight=1.0))
