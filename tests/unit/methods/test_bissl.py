"""BiSSL's bilevel stage: the lower step, what each level may touch, the order of steps, and bad options."""

from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError
from auxo.interfaces import TrainState
from auxo.methods.bissl import BiSSL
from auxo.pretexts import Pair
from auxo.pretexts.byol import BYOL
from auxo.pretexts.simclr import SimCLR
from auxo.recipes.bissl import released
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.solvers.conjugate_gradient import ConjugateGradientSolver
from auxo.solvers.identity import IdentitySolver
from auxo.solvers.mfac import MFACSolver
from auxo.tasks import Classification
from auxo.types import Batch

from .bissl_dense import BASE, RUNTIME, SGD, batches, flat, lower_only, make, upper_only, watched_step


def test_lower_step__gradient__is_the_pretexts_and_the_pull():
    config = replace(BASE, coupling=0.3)
    method, state = make(config)
    state.step = 0
    shown = lower_only(batches(config))
    pretext = method.pretext(method.backbone, Pair(shown["first"].images, shown["second"].images)).loss
    lower, upper = [*method.backbone.parameters()], [*method.upper.backbone.parameters()]
    distance = sum((a - b.detach()).square().sum() for a, b in zip(lower, upper, strict=True))
    heads = [*method.pretext.parameters()]
    expected = torch.autograd.grad(pretext + 0.3 / 2 * distance, [*lower, *heads])
    gradients, metrics = watched_step(method, state, shown)
    for given, wanted in zip(gradients, expected, strict=True):
        assert torch.allclose(given, wanted, rtol=1e-10, atol=1e-14)
    norm = flat(lower).norm()  # after the step; before it the same to the learning rate
    assert metrics["distance"].item() == pytest.approx((distance.sqrt() / norm).item(), rel=0.2)


def test_levels__each_step__leaves_the_other_level_to_the_bit():
    config = replace(BASE, pretext=BYOL.Config(hidden=5, outputs=4, num_layers=2))
    task = Classification(class_names=("a", "b"), channels=3, height=16, width=16)
    method = config.build(Networks(BackboneConfig(name="resnet8"), task, seed=0)).train()
    state = TrainState(method.optimizers(), seed=0, num_steps=40)
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, {"label": torch.arange(8) % 2}, torch.arange(8))
    shown = dict.fromkeys(config.required_views(), batch)
    for step in range(8):
        state.step = step
        before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
        plan = config.plan(step, {})
        state.kind = plan.kind
        method.update(state, {name: shown[name] for name in plan.batches}, RUNTIME)
        changed = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
        if plan.kind == "lower":
            assert not any(name.startswith("upper.") for name in changed)
            assert any(name.startswith("backbone.") for name in changed)
        else:
            assert all(name.startswith("upper.") for name in changed), changed
            assert any("running_mean" in name for name in changed)


def test_batch_norm__move__lets_upper_steps_move_the_lower_running_statistics():
    config = replace(BASE, batch_norm="move", solver=ConjugateGradientSolver(iterations=2))
    task = Classification(class_names=("a", "b"), channels=3, height=16, width=16)
    method = config.build(Networks(BackboneConfig(name="resnet8"), task, seed=0)).train()
    state = TrainState(method.optimizers(), seed=0, num_steps=40, step=2)
    batch = Batch(torch.randn(8, 3, 16, 16), {"label": torch.arange(8) % 2}, torch.arange(8))
    before = {name: tensor.clone() for name, tensor in method.backbone.named_buffers()}
    method.update(state, dict.fromkeys(config.plan(2, {}).batches, batch), RUNTIME)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in method.backbone.named_buffers())


def test_no_coupling__lower_solution__does_not_depend_on_the_upper_backbone():
    config = replace(BASE, coupling=0.0)
    ends = []
    for apart in (0.0, 0.5):
        method, state = make(config, apart=0.0)
        with torch.no_grad():
            for parameter in method.upper.backbone.parameters():
                parameter.add_(apart)
        for step in range(2):
            state.step = step
            state.kind = "lower"
            method.update(state, lower_only(batches(config)), RUNTIME)
        ends.append(flat([*method.backbone.parameters()]))
    assert torch.equal(*ends)


def test_strong_coupling__lower_steps__tie_the_backbones():
    config = replace(BASE, coupling=1000.0, lower_optimizer=replace(SGD, lr=1e-3))  # lr < 2 / coupling
    method, state = make(config, apart=0.3)
    for step in (0, 1):
        state.step = step
        state.kind = "lower"
        metrics = method.update(state, lower_only(batches(config)), RUNTIME)
    assert metrics["distance"] < 1e-2


def test_plan__two_alternations__counts_steps_batches_and_products():
    config = BiSSL.Config(pretext=SimCLR.Config())
    plans = [config.plan(step, {}) for step in range(2 * config.steps_per_epoch({}))]
    assert [plan.kind for plan in plans].count("lower") == 40
    uppers = [plan for plan in plans if plan.kind != "lower"]
    assert [plan.batches["train"] for plan in uppers] == list(range(16))
    assert [plan.batches["curvature_first"] for plan in uppers] == [0] * 8 + [1] * 8
    assert [plan.batches["first"] for plan in plans if plan.kind == "lower"] == list(range(40))
    assert {plan.optimizers for plan in uppers} == {("upper",)}
    assert len(uppers) // 2 * config.solver.iterations == 40


def test_hessian__an_alternation__is_built_once_and_anew_after_lower_steps():
    method, state = make()
    shown = batches()
    built = []
    for step in range(2, 8):
        state.step = step
        plan = BASE.plan(step, {})
        state.kind = plan.kind
        method.update(state, {name: shown[name] for name in plan.batches}, RUNTIME)
        built.append(method._hessian)
    assert built[0] is built[1] is not None
    assert built[2] is built[3] is None
    assert built[4] is built[5] is not built[0]


def test_clip_norm__above_it__scales_all_gradients_of_a_level_down():
    method, state = make(replace(BASE, clip_norm=1e-3))
    before = flat([p.detach().clone() for p in method.upper.parameters()])
    method.update(state, upper_only(batches()), RUNTIME)
    after = flat([p.detach() for p in method.upper.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.05 * 1e-3, rel=1e-3)


def test_byol__first_step__takes_the_target_anew_from_the_lower_backbone():
    config = replace(BASE, pretext=BYOL.Config(hidden=5, outputs=4, num_layers=2, momentum=1.0))
    method, state = make(config)
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.mul_(2)
    start = flat([p.detach().clone() for p in method.backbone.parameters()])
    state.step = 0
    state.kind = "lower"
    method.update(state, lower_only(batches(config)), RUNTIME)
    followers = method.frozen_parameters()
    target = [p for name, p in method.named_parameters() if name in followers and "backbone" in name]
    assert torch.equal(flat(target), start)


def test_head_logits__both_backbones__share_the_class_head():
    method, _ = make()
    images = batches()["train"].images
    logits = method.head_logits(images)
    assert list(logits) == ["semantic", "lower"]
    assert torch.equal(logits["semantic"], method.upper.semantic(method.upper.backbone(images).pooled))
    assert torch.equal(logits["lower"], method.upper.semantic(method.backbone(images).pooled))


def test_compiled_network__solver_with_products__is_refused():
    method, state = make()
    compiled = Runtime(config=RuntimeConfig(device="cpu", compile=True), device=torch.device("cpu"))
    with pytest.raises(ConfigError, match="no-compile"):
        method.update(state, upper_only(batches()), compiled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lower_steps": 0}, "lower-steps >= 1"),
        ({"coupling": -1.0}, "coupling >= 0"),
        ({"clip_norm": 0.0}, "clip-norm > 0"),
        ({"coupling": 0.0, "solver": ConjugateGradientSolver(damping=0.0)}, "coupling > 0 or solver.damping > 0"),
        ({"coupling": 0.0, "solver": MFACSolver()}, "coupling > 0 with the solver mfac, got 0"),
    ],
)
def test_config__bad_value__is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        BiSSL.Config(**options)


@pytest.mark.parametrize("solver", [ConjugateGradientSolver(), IdentitySolver()])
def test_config__no_coupling_beside_damping_or_without_a_system__is_taken(solver):
    assert BiSSL.Config(coupling=0.0, solver=solver).coupling == 0


def test_released__recipe__has_the_transforms_and_last_rates_of_the_release():
    run = released()
    assert (run.data.augment, run.data.crop_aspect, run.data.normalise) == ("crop_resize_flip", (0.5, 1.0), "imagenet")
    rates = [stage.method.optimizer for stage in run.stages] + [run.stages[2].method.lower_optimizer]
    falling = [rate for rate in rates if rate.schedule == "cosine"]
    assert len(falling) == 4
    assert all(rate.minimum_lr == pytest.approx(rate.lr / 1000) for rate in falling)
    assert run.stages[2].method.batch_norm == "move"
