"""Joint training with unlabelled images beside the labelled ones."""

import copy

import pytest
import torch

from auxo.data import DataConfig
from auxo.errors import ConfigError
from auxo.interfaces import View
from auxo.methods.joint_training import JointTraining
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.rotation import Rotation
from auxo.runs import ExperimentConfig, StageConfig
from auxo.types import Batch

PLAIN = OptimizerConfig(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant")


@pytest.fixture
def with_unlabelled(batches):
    """The labelled batch and eight other images without a label."""
    images = batches["meta"].images
    return {**batches, "unlabelled": Batch(images, {}, torch.arange(16, 16 + len(images)))}


def turn_loss(method, images):
    """The mean cross-entropy of the four quarter turns of images, told by the pretext's head, by its definition."""
    loss = 0.0
    for turns in range(4):
        answers = method.pretext.head(method.backbone(torch.rot90(images, turns, dims=(2, 3))).pooled)
        loss = loss - answers.log_softmax(1)[:, turns].mean() / 4
    return loss


def test_update__unlabelled_images__gradient_of_the_sum_of_three_losses(build, with_unlabelled, runtime):
    config = JointTraining.Config(pretext=Rotation(), pretext_weight=0.6, unlabelled_weight=0.3, optimizer=PLAIN)
    method, state = build(config, backbone="lenet5")
    plain = copy.deepcopy(method)
    metrics = method.update(state, with_unlabelled, runtime)
    batch, others = with_unlabelled["train"], with_unlabelled["unlabelled"].images
    answers = plain.semantic(plain.backbone(batch.images).pooled).log_softmax(1)
    classes = -answers[torch.arange(len(batch)), batch.targets["label"]].mean()
    expected = turn_loss(plain, others)
    loss = classes + 0.6 * turn_loss(plain, batch.images) + 0.3 * expected
    gradients = torch.autograd.grad(loss, [*plain.parameters()])
    torch.testing.assert_close(metrics["unlabelled_loss"], expected.detach())
    for moved, before, gradient in zip(method.parameters(), plain.parameters(), gradients, strict=True):
        torch.testing.assert_close(moved, before - 0.1 * gradient)


def test_required_views__weight_of_unlabelled_images__asks_for_them():
    assert JointTraining.Config(pretext=Rotation()).required_views() == {"train": View()}
    views = JointTraining.Config(pretext=Rotation(), unlabelled_weight=1.0).required_views()
    assert views == {"train": View(), "unlabelled": View("unlabelled")}


def test_config__unlabelled_images_that_nothing_reads__is_refused_with_what_reads_them():
    with pytest.raises(ConfigError, match=r"joint_training with --method.unlabelled-weight 1"):
        ExperimentConfig(stages=(StageConfig(method=Supervised.Config()),), data=DataConfig(unlabelled="new"))
