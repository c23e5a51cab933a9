"""OSSL: which weights each step moves, on which loss, and what its scopes and controls are equal to."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError
from auxo.interfaces import View
from auxo.methods.joint_training import JointTraining
from auxo.methods.ossl import OSSL, ImplicitConfig, cifar10_released
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.rotation import Rotation
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification

BACKBONE_AND_AUXILIARY = {"backbone", "auxiliary"}


class StepRecorder(Runtime):
    """Takes the real steps and notes what each moved, what it left without a gradient, and its loss."""

    def __init__(self, method):
        super().__init__(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
        object.__setattr__(self, "method", method)
        object.__setattr__(self, "steps", [])

    def step(self, optimizer, loss):
        before = {name: p.detach().clone() for name, p in self.method.named_parameters()}
        for parameter in self.method.parameters():
            parameter.grad = None
        super().step(optimizer, loss)
        moved = {name for name, p in self.method.named_parameters() if not torch.equal(p, before[name])}
        without = {name for name, p in self.method.named_parameters() if p.grad is None}
        self.steps.append((moved, without, loss.item()))


class GradientKeeper(Runtime):
    """Keeps the loss and its gradient in the backbone instead of stepping."""

    def __init__(self, method):
        super().__init__(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
        object.__setattr__(self, "method", method)

    def step(self, optimizer, loss):
        gradient = torch.autograd.grad(loss, list(self.method.backbone.parameters()))
        object.__setattr__(self, "value", loss.item())
        object.__setattr__(self, "gradient", gradient)


def parts(names):
    return {name.partition(".")[0] for name in names}


def record(build, batches, config):
    method, state = build(config)
    recorder = StepRecorder(method)
    metrics = method.update(state, batches, recorder)
    return method, recorder.steps, metrics


# 1, 2: which weights each step moves


def test_step_a__reference__moves_backbone_semantic_rotation_and_leaves_auxiliary(build, batches):
    method, steps, _ = record(build, batches, OSSL.Config())
    moved, without, _ = steps[0]
    expected = {name for name, _ in method.named_parameters() if not name.startswith("auxiliary")}
    assert moved == expected
    assert without == {"auxiliary.weight", "auxiliary.bias"}


def test_step_b__reference__moves_backbone_and_auxiliary_only(build, batches):
    method, steps, _ = record(build, batches, OSSL.Config())
    moved, without, _ = steps[1]
    expected = {name for name, _ in method.named_parameters() if parts([name]) <= BACKBONE_AND_AUXILIARY}
    assert moved == expected
    assert parts(without) == {"semantic", "pretext"}


def test_step_b__after_many_steps__semantic_and_rotation_do_not_drift_by_momentum(build, batches, take_steps):
    method, state = build(OSSL.Config())
    take_steps(method, state, 3)
    recorder = StepRecorder(method)
    method.update(state, batches, recorder)
    assert parts(recorder.steps[1][0]) == BACKBONE_AND_AUXILIARY
    assert "auxiliary" not in parts(recorder.steps[0][0])


def test_step_b__head_only__moves_auxiliary_only(build, batches):
    _, steps, _ = record(build, batches, OSSL.Config(scope="head_only"))
    assert parts(steps[1][0]) == {"auxiliary"}


def test_step_b__difference__follows_both_losses_and_leaves_the_semantic_head(build, batches):
    _, steps, metrics = record(build, batches, OSSL.Config(scope="difference"))
    assert parts(steps[1][0]) == BACKBONE_AND_AUXILIARY
    assert steps[1][2] == pytest.approx(metrics["auxiliary_minus_classification"].item())


def test_step_b__second_head_semantic__is_a_second_step_on_the_same_head(build, batches):
    method, steps, _ = record(build, batches, OSSL.Config(second_head="semantic"))
    assert parts(steps[1][0]) == {"backbone", "semantic"}
    assert list(method.head_logits(batches["train"].images)) == ["semantic"]


# 3: the released loss of step B has the gradient of L_aux


def test_released_step_b_loss__gradient__equals_gradient_of_auxiliary_loss(build, batches):
    method, _ = build(OSSL.Config())
    batch = batches["train"]
    pooled = method.backbone(batch.images).pooled
    auxiliary = F.cross_entropy(method.auxiliary(pooled), batch.labels)
    semantic = F.cross_entropy(method.semantic(pooled).detach(), batch.labels)
    weights = [*method.backbone.parameters(), *method.auxiliary.parameters()]
    plain = torch.autograd.grad(auxiliary, weights, retain_graph=True)
    released = torch.autograd.grad(auxiliary - semantic + 1e-7, weights)
    for one, other in zip(plain, released, strict=True):
        torch.testing.assert_close(one, other)


# 4: equalities between scopes, controls and baselines


def shared_weights(method):
    kept = ("backbone", "semantic", "pretext")
    return {name: p.detach().clone() for name, p in method.named_parameters() if name.startswith(kept)}


def trained(build, take_steps, config, count=4):
    method, state = build(config)
    take_steps(method, state, count)
    return shared_weights(method)


def assert_identical(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_head_only__four_steps__bit_identical_to_joint_training(build, take_steps):
    head_only = trained(build, take_steps, OSSL.Config(scope="head_only"))
    assert_identical(head_only, trained(build, take_steps, JointTraining.Config(pretext=Rotation())))


def test_reference__four_steps__differs_from_joint_training(build, take_steps):
    reference = trained(build, take_steps, OSSL.Config())
    joint = trained(build, take_steps, JointTraining.Config(pretext=Rotation()))
    assert all(not torch.equal(reference[name], joint[name]) for name in joint)


def test_head_only_without_rotation__four_steps__bit_identical_to_supervised(build, take_steps):
    head_only = trained(build, take_steps, OSSL.Config(scope="head_only", rotation="off"))
    assert_identical(head_only, trained(build, take_steps, Supervised.Config()))


def test_first_weights__same_seed__equal_in_all_methods(build):
    weights = [
        shared_weights(build(config)[0])
        for config in (OSSL.Config(), JointTraining.Config(pretext=Rotation()), Supervised.Config())
    ]
    for name in weights[2]:
        assert torch.equal(weights[0][name], weights[2][name])
        assert torch.equal(weights[1][name], weights[2][name])


# 5: momentum isolation


def test_optimizers__after_steps__own_buffers_of_own_weights(build, take_steps):
    method, state = build(OSSL.Config())
    take_steps(method, state, 3)
    names = {p: name for name, p in method.named_parameters()}
    primary, auxiliary = (state.optimizers[key].state for key in ("primary", "auxiliary"))
    assert parts(names[p] for p in auxiliary) == BACKBONE_AND_AUXILIARY
    assert parts(names[p] for p in primary) == {"backbone", "semantic", "pretext"}
    for parameter in method.backbone.parameters():
        one, other = primary[parameter]["momentum_buffer"], auxiliary[parameter]["momentum_buffer"]
        assert not torch.equal(one, other)


# 6: step B is evaluated at the weights that step A left


@pytest.mark.parametrize("scope", ["reference", "head_only"])
def test_auxiliary_loss__other_rate_in_step_a__changes(build, batches, runtime, scope):
    def auxiliary_loss(rate):
        method, state = build(OSSL.Config(scope=scope))
        for group in state.optimizers["primary"].param_groups:
            group["lr"] = rate
        return method.update(state, batches, runtime)["auxiliary_loss"].item()

    assert auxiliary_loss(0.01) != auxiliary_loss(0.05)


# 9: batch norm


@pytest.mark.parametrize(
    ("config", "forwards"),
    [
        (OSSL.Config(), 3),
        (OSSL.Config(freeze_batch_norm=True), 2),
        (OSSL.Config(shared_upright=True), 2),
        (OSSL.Config(scope="implicit"), 2),
        (JointTraining.Config(pretext=Rotation()), 2),
        (JointTraining.Config(pretext=Rotation(), shared_upright=True), 1),
        (Supervised.Config(), 1),
    ],
)
def test_batch_norm__per_update__tracks_one_batch_a_forward(build, take_steps, config, forwards):
    method, state = build(config)
    take_steps(method, state, 2)
    counts = {int(m.num_batches_tracked) for m in method.modules() if isinstance(m, nn.BatchNorm2d)}
    assert counts == {2 * forwards}


def test_freeze_batch_norm__step_b__weights_as_without_it(build, take_steps):
    assert_identical(
        trained(build, take_steps, OSSL.Config()), trained(build, take_steps, OSSL.Config(freeze_batch_norm=True))
    )


# 10: schedule and size


def test_released_schedule__250_epochs__published_rates():
    config = cifar10_released().stages[0]
    optimizer = config.method.optimizer.build([nn.Parameter(torch.zeros(1))])
    schedule = config.method.optimizer.build_schedule(optimizer, num_epochs=config.epochs)
    rates = []
    for _ in range(config.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    published = {0: 1e-2, 129: 1e-2, 130: 1e-3, 199: 1e-3, 200: 1e-4, 249: 1e-4}
    assert {epoch: rates[epoch] for epoch in published} == pytest.approx(published, rel=1e-12)


def test_released_network__three_heads__published_number_of_parameters():
    task = Classification(class_names=tuple("0123456789"), channels=3, height=32, width=32)
    config = cifar10_released()
    method = config.stages[0].method.build(Networks(config.backbone, task, seed=0))
    assert sum(p.numel() for p in method.parameters()) == 1_065_696
    assert sum(p.numel() for p in method.backbone.parameters()) == 1_054_728


# the scope of our own


@pytest.mark.parametrize("response", ["rotated", "meta"])
def test_implicit__gradient_of_the_upper_level__equals_finite_differences(build, batches, response):
    """The step's gradient in the backbone against differences of the upper level with the head solved anew."""
    exact = ImplicitConfig(response=response, weight=1.5, proximal=0.5, newton_steps=8, iterations=60)
    config = OSSL.Config(scope="implicit", implicit=exact, optimizer=OptimizerConfig(weight_decay=0.0))
    method, state = build(config, backbone="lenet5")

    def upper_level():
        method.load_state_dict(start)
        keeper = GradientKeeper(method)
        method.update(state, batches, keeper)
        return keeper

    start = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    gradient = upper_level().gradient
    step = 1e-6
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in method.backbone.parameters()]
        length = sum(d.square().sum() for d in direction).sqrt()
        direction = [d / length for d in direction]  # short, so that no ReLU changes sides
        values = []
        for sign in (1, -1):
            for (name, _), change in zip(method.backbone.named_parameters(), direction, strict=True):
                start[f"backbone.{name}"] += sign * step * change
            values.append(upper_level().value)
            for (name, _), change in zip(method.backbone.named_parameters(), direction, strict=True):
                start[f"backbone.{name}"] -= sign * step * change
        numeric = (values[0] - values[1]) / (2 * step)
        analytic = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True)).item()
        assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-9)


def test_implicit__implicit_part__is_not_negligible(build, batches, runtime):
    """Without the response through the optimum the gradient differs, so the check above sees it."""
    gradients = []
    for weight in (1e-12, 1.0):
        implicit = ImplicitConfig(weight=weight, proximal=0.5, newton_steps=8, iterations=60)
        method, state = build(OSSL.Config(scope="implicit", implicit=implicit), backbone="lenet5")
        method.update(state, batches, runtime)
        gradients.append(torch.cat([p.grad.flatten() for p in method.backbone.parameters()]))
    assert (gradients[0] - gradients[1]).norm() > 1e-3 * gradients[0].norm()


def test_implicit__after_update__auxiliary_head_is_the_optimum_of_the_lower_level(build, take_steps):
    method, state = build(OSSL.Config(scope="implicit", implicit=ImplicitConfig(newton_steps=8, iterations=60)))
    metrics = take_steps(method, state, 1)
    assert metrics["lower_level_residual"] < 1e-8
    assert set(method.frozen_parameters()) == {"auxiliary.weight", "auxiliary.bias"}


# options


@pytest.mark.parametrize(
    "options",
    [
        {"scope": "head_only", "second_head": "semantic"},
        {"rotation": "random", "shared_upright": True},
        {"scope": "implicit", "rotation": "off"},
    ],
)
def test_config__options_that_exclude_each_other__config_error(options):
    with pytest.raises(ConfigError):
        OSSL.Config(**options)


def test_auxiliary_weight_decay__given__is_that_of_step_b(build):
    _, state = build(OSSL.Config(auxiliary_weight_decay=0.03))
    decays = {name: optimizer.param_groups[0]["weight_decay"] for name, optimizer in state.optimizers.items()}
    assert decays == {"primary": 1e-4, "auxiliary": 0.03}


def test_required_views__meta_response__asks_for_meta():
    implicit = ImplicitConfig(response="meta")
    assert OSSL.Config(scope="implicit", implicit=implicit).required_views() == {"train": View(), "meta": View("meta")}
    assert replace(OSSL.Config(), implicit=implicit).required_views() == {"train": View()}


def test_backbone_name__of_the_release__is_registered():
    assert BackboneConfig(name=cifar10_released().backbone.name) == cifar10_released().backbone
