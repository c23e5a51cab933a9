"""BYOL's target: what it is, how it follows, and that nothing else moves it."""

import math

import pytest
import torch

from auxo.layers.batch_norm import keep_running_statistics


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def shift(module, by):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by)


def test_target__at_first__is_a_copy_of_backbone_and_projector(build):
    backbone, pretext = build(name="byol")
    for target, online in ((pretext.target_backbone, backbone), (pretext.target_projector, pretext.projector)):
        assert target is not online
        pairs = zip(target.parameters(), online.parameters(), strict=True)
        assert all(torch.equal(own, other) and own is not other for own, other in pairs)
        assert not any(parameter.requires_grad for parameter in target.parameters())


def test_frozen_parameters__are_exactly_those_of_the_target(build):
    _, pretext = build(name="byol")
    frozen = pretext.frozen_parameters()
    assert set(frozen) == {name for name, parameter in pretext.named_parameters() if not parameter.requires_grad}
    assert any(name.startswith("target_backbone.") for name in frozen)
    assert any(name.startswith("target_projector.") for name in frozen)


@pytest.mark.parametrize(
    ("schedule", "progress", "momentum"),
    [
        ("cosine", 0.0, 0.9),
        ("cosine", 0.5, 0.95),
        ("cosine", 1 / 3, 1 - 0.1 * 0.75),
        ("cosine", 1.0, 1.0),
        ("constant", 0.5, 0.9),
    ],
)
def test_follow__target_at_0_and_trained_at_1__moves_by_one_minus_the_momentum(build, schedule, progress, momentum):
    backbone, pretext = build(name="byol", momentum=0.9, momentum_schedule=schedule)
    assert pretext.momentum_at(progress) == pytest.approx(momentum, abs=1e-15)
    shift(backbone, 1.0)
    shift(pretext.projector, 1.0)
    pretext.follow(backbone, progress=progress)
    for target, online in (
        *zip(pretext.target_backbone.parameters(), backbone.parameters(), strict=True),
        *zip(pretext.target_projector.parameters(), pretext.projector.parameters(), strict=True),
    ):
        torch.testing.assert_close(target, online - momentum, rtol=0, atol=1e-14)


def test_follow__buffers__stay_those_of_what_the_target_saw(build):
    backbone, pretext = build(name="byol", momentum=0.0, momentum_schedule="constant")
    backbone.norm.running_mean.add_(3.0)
    pretext.follow(backbone, progress=0.0)
    assert torch.equal(pretext.target_backbone.norm.running_mean, torch.zeros(16).double())


def test_restart__target_of_other_weights__is_the_copy_again_with_its_statistics(build, pair):
    backbone, pretext = build(name="byol")
    pretext(backbone, pair)
    shift(backbone, 0.5)
    shift(pretext.projector, 0.5)
    pretext.restart(backbone)
    assert all(torch.equal(value, state(backbone)[name]) for name, value in state(pretext.target_backbone).items())
    projector = state(pretext.projector)
    assert all(torch.equal(value, projector[name]) for name, value in state(pretext.target_projector).items())


def test_forward__backward_and_step__leave_the_targets_weights(build, pair):
    backbone, pretext = build(name="byol")
    before = [parameter.clone() for name, parameter in pretext.named_parameters() if name.startswith("target_")]
    trained = [p for p in (*backbone.parameters(), *pretext.parameters()) if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1)
    pretext(backbone, pair).loss.backward()
    optimizer.step()
    after = [parameter for name, parameter in pretext.named_parameters() if name.startswith("target_")]
    assert all(torch.equal(left, right) for left, right in zip(before, after, strict=True))
    assert all(parameter.grad is None for parameter in after)


def test_forward__within_keep_running_statistics__leaves_every_buffer(build, pair):
    backbone, pretext = build(name="byol")
    before = state(pretext)
    with keep_running_statistics(pretext), keep_running_statistics(backbone):
        pretext(backbone, pair)
    assert all(torch.equal(value, before[name]) for name, value in state(pretext).items())


def test_loss__in_training__lies_between_0_and_8(build, pair):
    backbone, pretext = build(name="byol")
    assert 0 < pretext(backbone, pair).loss.item() < 8
    assert math.isclose(pretext(backbone, pair).loss.item(), pretext(backbone, pair).loss.item())
