"""Supervised training: its default as ever, class losses on the head that suits them, and the long-tailed recipe."""

from dataclasses import replace

import pytest
import torch

from auxo.errors import ConfigError
from auxo.layers.heads import CosineHead, linear_head
from auxo.losses import LDAM, cross_entropy_losses, ldam_losses, ldam_margins
from auxo.methods.supervised import Supervised, cifar10_long_tailed

LDAM_DRW = LDAM(class_weights="effective_number")


@pytest.fixture
def task(task):
    return replace(task, class_counts=(800, 90, 20, 3))


def test_update__default__is_cross_entropy_on_a_linear_head_to_the_bit(build, take_steps, snapshot, batches, runtime):
    method, state = build(Supervised.Config())
    take_steps(method, state, 3)
    other, _ = build(Supervised.Config())
    other.semantic = linear_head("semantic", other.backbone.num_features, 4, seed=0).double()
    optimizer = other.config.optimizer.build([*other.backbone.parameters(), *other.semantic.parameters()])
    batch = batches["train"]
    for _ in range(3):
        logits = other.semantic(other.backbone(batch.images).pooled)
        runtime.step(optimizer, batch.mean(cross_entropy_losses(logits, batch.labels)))
    assert snapshot(method).keys() == snapshot(other).keys()
    assert all(torch.equal(tensor, snapshot(other)[name]) for name, tensor in snapshot(method).items())


def test_update__ldam__reports_the_loss_with_margins(build, take_steps, batches):
    method, state = build(Supervised.Config(class_loss=LDAM(), head="cosine"))
    assert isinstance(method.semantic, CosineHead)
    batch = batches["train"]
    cosines = method.semantic(method.backbone(batch.images).pooled)
    margins = ldam_margins([800, 90, 20, 3], max_margin=0.5)
    expected = ldam_losses(cosines, batch.labels, margins=margins, scale=30.0).mean().item()
    assert take_steps(method, state, 1)["classification_loss"] == pytest.approx(expected, rel=1e-12)


def test_update__deferred_weights__set_in_at_four_fifths_of_the_stage(build, take_steps):
    runs = {}
    for weights in ("none", "effective_number"):
        method, state = build(Supervised.Config(class_loss=replace(LDAM_DRW, class_weights=weights), head="cosine"))
        state.num_steps = 5
        runs[weights] = [take_steps(method, state, 1)["classification_loss"] for _ in range(5)]
    assert runs["none"][:4] == runs["effective_number"][:4]
    assert runs["none"][4] != runs["effective_number"][4]


def test_head_logits__cosine_head__are_scaled_cosines(build, batches):
    method, _ = build(Supervised.Config(class_loss=LDAM_DRW, head="cosine"))
    images = batches["train"].images
    logits = method.head_logits(images)["semantic"]
    assert torch.equal(logits, 30.0 * method.semantic(method.backbone(images).pooled))


def test_config__ldam_on_a_linear_head__is_refused_before_anything_is_built():
    with pytest.raises(ConfigError, match=r"a cosine head with the loss ldam, got a linear one: pass --method\.head"):
        Supervised.Config(class_loss=LDAM_DRW)


def test_cifar10_long_tailed__recipe__is_that_of_the_released_code():
    config = cifar10_long_tailed()
    (stage,) = config.stages
    optimizer = stage.method.optimizer
    parameter = torch.nn.Parameter(torch.zeros(1))
    sgd = optimizer.build([parameter])
    schedule = optimizer.build_schedule(sgd, num_epochs=stage.epochs)
    rates = []
    for _ in range(stage.epochs):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    # The released code counts epochs from 1: lr e / 5 up to 5, a hundredth after 160, a ten-thousandth after 180.
    expected = [0.1 * e / 5 if e <= 5 else 1e-5 if e > 180 else 1e-3 if e > 160 else 0.1 for e in range(1, 201)]
    assert rates == pytest.approx(expected, rel=1e-12)
    group = sgd.param_groups[0]
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == (0.9, False, 2e-4)
    assert stage.method.class_loss == LDAM_DRW
    assert (config.data.imbalance, config.data.imbalance_ratio) == ("exp", 0.01)
