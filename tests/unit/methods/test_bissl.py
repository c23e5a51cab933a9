"""BiSSL's bilevel stage: its gradients against dense algebra and finite differences, and what each level may touch."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call

from auxo.backbones import BackboneConfig
from auxo.batch_norm import keep_running_statistics
from auxo.errors import ConfigError
from auxo.interfaces import AbstractBackbone, TrainState
from auxo.joint_embeddings import JointEmbeddingConfig, Pair, loss_in_backbone
from auxo.methods.bissl import BiSSL
from auxo.optimizers import OptimizerConfig
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch, Features, Task

TASK = Task(class_names=("a", "b", "c"), channels=1, height=3, width=3)
HEADS = JointEmbeddingConfig(hidden=5, outputs=4, num_layers=2)
SGD = OptimizerConfig(lr=0.05, nesterov=False, momentum=0.0, weight_decay=0.0, schedule="constant")
BASE = BiSSL.Config(
    pretext=HEADS, optimizer=SGD, lower_optimizer=SGD, lower_steps=2, upper_steps=2, pretext_ratio=1,
    curvature_ratio=1, damping=1000.0, iterations=40, tolerance=0.0, clip_norm=1e9,
)  # fmt: skip
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


class Smooth(AbstractBackbone):
    """Two layers without kinks, small enough for a dense Hessian."""

    def __init__(self):
        super().__init__()
        self.num_features = 4
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())

    def forward(self, images):
        return Features(self.net(images), {})


class Watch(Runtime):
    """Notes the gradients that an optimiser is given."""

    def apply(self, optimizer, gradients, *, max_norm=None):
        SEEN.append(list(gradients))
        super().apply(optimizer, gradients, max_norm=max_norm)


SEEN = []


def make(config=BASE, *, seed=0, apart=0.02):
    """A method in float64 whose two backbones differ a little, and its state at the first upper step."""
    torch.manual_seed(seed)
    method = config.build(Smooth(), TASK, seed=seed).double().train()
    for module in [*method.pretext.modules()]:
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):  # finite differences of a loss with kinks do not converge
                setattr(module, name, nn.Softplus())
    with torch.no_grad():
        for parameter in method.upper.backbone.parameters():
            parameter.add_(apart * torch.randn_like(parameter))
    state = TrainState(method.optimizers(), seed=seed, num_steps=100)
    state.step = config.lower_steps
    return method, state


def batches(config=BASE, *, seed=1, count=12):
    """One batch for every view."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return {
        name: Batch(torch.randn(count, 1, 3, 3, generator=generator, dtype=torch.float64), labels, torch.arange(count))
        for name in config.required_views()
    }


def upper_only(shown):
    return {name: batch for name, batch in shown.items() if name not in ("first", "second")}


def lower_only(shown):
    return {name: shown[name] for name in ("first", "second")}


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def downstream_loss(method, backbone, batch):
    return nn.functional.cross_entropy(method.upper.semantic(backbone(batch.images).pooled), batch.labels)


def expected_parts(method, shown):
    """Return v, h1, g2, h2 by plain autograd, and the dense Hessian of the pretext's loss in the lower backbone."""
    train, lower = shown["train"], [*method.backbone.parameters()]
    head, upper = [*method.upper.semantic.parameters()], [*method.upper.backbone.parameters()]
    first = torch.autograd.grad(downstream_loss(method, method.backbone, train), [*lower, *head])
    second = torch.autograd.grad(downstream_loss(method, method.upper.backbone, train), [*upper, *head])
    pair = Pair(shown["curvature_first"].images, shown["curvature_second"].images)
    sizes = [p.numel() for p in lower]
    names = [name for name, _ in method.backbone.named_parameters()]
    value = loss_in_backbone(method.backbone, method.pretext, pair)

    def of_vector(vector):
        pieces = vector.split(sizes)
        return value({n: piece.view_as(p) for n, piece, p in zip(names, pieces, lower, strict=True)})

    with keep_running_statistics(method):
        dense = hessian(of_vector, flat(lower).detach())
    count = len(lower)
    return flat(first[:count]), first[count:], flat(second[:count]), second[count:], dense


def step_above(config, **options):
    """Return the gradients that the upper optimiser is given, the method before, and what it saw."""
    method, state = make(config, **options)
    shown = batches(config)
    parts = expected_parts(method, {**batches(BASE), **shown})
    SEEN.clear()
    metrics = method.update(state, upper_only(shown), Watch(config=RUNTIME.config, device=RUNTIME.device))
    count = len([*method.upper.backbone.parameters()])
    (gradients,) = SEEN
    return flat(gradients[:count]), gradients[count:], parts, metrics


@pytest.mark.parametrize(
    ("coupling", "damping", "gamma"), [(0.5, 1000.0, 1.0), (500.0, 300.0, 0.01), (800.0, 0.0, 0.0)]
)
def test_upper_step__conjugate_gradients__is_the_dense_solution_of_the_damped_system(coupling, damping, gamma):
    config = replace(BASE, coupling=coupling, damping=damping, direct_weight=gamma)
    backbone, head, (v, h1, g2, h2, dense), metrics = step_above(config)
    z = torch.linalg.solve(torch.eye(len(v), dtype=v.dtype) + dense / (coupling + damping), v)
    assert torch.allclose(backbone, z + gamma * g2, rtol=1e-9, atol=1e-12)
    for given, first, second in zip(head, h1, h2, strict=True):
        assert torch.allclose(given, first + gamma * second, rtol=1e-9, atol=1e-12)
    assert metrics["negative_curvature"] == 0
    assert metrics["response_residual"] < 1e-9
    assert (metrics["coupling"], metrics["damping"]) == (coupling, damping)
    assert metrics["response_length"].item() == pytest.approx((z.norm() / v.norm()).item(), rel=1e-9)


def test_upper_step__neumann_given_time__is_the_same_solution():
    backbone, _, (v, _, g2, _, dense), metrics = step_above(replace(BASE, solver="neumann", iterations=200))
    z = torch.linalg.solve(torch.eye(len(v), dtype=v.dtype) + dense / 1000.001, v)
    assert torch.allclose(backbone - g2, z, rtol=1e-3, atol=1e-6)
    assert metrics["response_residual"] < 1e-3


def test_upper_step__nystrom_of_an_indefinite_hessian__keeps_the_gradient_and_says_so():
    backbone, _, (v, _, g2, _, dense), metrics = step_above(replace(BASE, solver="nystrom", iterations=60))
    assert torch.linalg.eigvalsh(dense).min() < -1e-4
    assert metrics["negative_curvature"] == 1
    assert torch.allclose(backbone, v + g2, rtol=1e-10)


def test_upper_step__identity__is_the_gradient_at_the_lower_solution():
    backbone, head, (v, h1, g2, h2, _), metrics = step_above(replace(BASE, solver="identity"))
    assert torch.allclose(backbone, v + g2, rtol=1e-12)
    assert torch.allclose(head[0], h1[0] + h2[0], rtol=1e-12)
    assert metrics["response_cosine"].item() == pytest.approx(1.0)


def test_upper_step__equal_backbones_and_identity__is_a_plain_step_times_one_plus_gamma():
    backbone, _, (v, _, g2, _, _), _ = step_above(replace(BASE, solver="identity", direct_weight=0.25), apart=0.0)
    assert torch.allclose(v, g2, rtol=1e-12)
    assert torch.allclose(backbone, 1.25 * v, rtol=1e-12)


def test_upper_step__no_indirect_weight__is_the_direct_gradient_alone():
    backbone, _, (_, _, g2, _, _), _ = step_above(replace(BASE, indirect_weight=0.0))
    assert torch.allclose(backbone, g2, rtol=1e-12)


def test_upper_step__damping_without_end__is_the_identity():
    backbone, _, (v, _, g2, _, _), _ = step_above(replace(BASE, damping=1e9))
    assert torch.allclose(backbone, v + g2, rtol=1e-8)


def test_upper_step__indefinite_system__stops_with_the_gradient_and_says_so():
    config = replace(BASE, damping=0.0, coupling=1e-4)
    method, state = make(config)
    shown = batches(config)
    *_, dense = expected_parts(method, shown)
    assert torch.linalg.eigvalsh(dense).min() < -1  # far from trained, as random weights are
    metrics = method.update(state, upper_only(shown), RUNTIME)
    assert metrics["negative_curvature"] == 1
    assert all(torch.isfinite(p).all() for p in method.parameters())


def test_hypergradient__exact_lower_solution__equals_finite_differences():
    """Along random directions, the derivative of F(theta_D) with the lower problem solved anew each time."""
    coupling = 1000.0  # random weights have curvatures of hundreds
    config = replace(BASE, coupling=coupling, damping=0.0, direct_weight=0.7)
    method, state = make(config)
    shown = batches(config)
    pair = Pair(shown["curvature_first"].images, shown["curvature_second"].images)
    names = [name for name, _ in method.backbone.named_parameters()]
    value = loss_in_backbone(method.backbone, method.pretext, pair)
    train = shown["train"]

    @keep_running_statistics(method)
    def solve(upper):
        """Newton's method to the exact lower solution of a given upper backbone."""
        sizes = [p.numel() for p in method.backbone.parameters()]
        like = [*method.backbone.parameters()]

        def total(vector):
            pieces = vector.split(sizes)
            own = {n: piece.view_as(p) for n, piece, p in zip(names, pieces, like, strict=True)}
            return value(own) + coupling / 2 * (vector - upper).square().sum()

        point = upper.clone()
        for _ in range(30):
            gradient = jacobian(total, point)
            point = point - torch.linalg.solve(hessian(total, point), gradient)
            if gradient.norm() < 1e-10:
                return point
        raise AssertionError(f"not solved: {gradient.norm()}")

    def outer(upper):
        sizes = [p.numel() for p in method.backbone.parameters()]
        like = [*method.backbone.parameters()]

        def loss(vector):
            own = {n: piece.view_as(p) for n, piece, p in zip(names, vector.split(sizes), like, strict=True)}
            features = functional_call(method.backbone, own, (train.images,)).pooled
            return nn.functional.cross_entropy(method.upper.semantic(features), train.labels)

        return loss(solve(upper)) + 0.7 * loss(upper)

    upper = flat([p.detach() for p in method.upper.backbone.parameters()])
    directions = torch.randn(3, len(upper), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    differences = [(outer(upper + 1e-5 * each) - outer(upper - 1e-5 * each)).item() / 2e-5 for each in directions]
    with torch.no_grad():
        nn.utils.vector_to_parameters(solve(upper), method.backbone.parameters())
    SEEN.clear()
    metrics = method.update(state, upper_only(shown), Watch(config=RUNTIME.config, device=RUNTIME.device))
    assert metrics["response_residual"] < 1e-9
    gradient = flat(SEEN[0][: len(names)])
    assert differences == pytest.approx((directions @ gradient).tolist(), rel=1e-6)


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
    SEEN.clear()
    metrics = method.update(state, shown, Watch(config=RUNTIME.config, device=RUNTIME.device))
    for given, wanted in zip(SEEN[0], expected, strict=True):
        assert torch.allclose(given, wanted, rtol=1e-10, atol=1e-14)
    norm = flat(lower).norm()  # after the step; before it the same to the learning rate
    assert metrics["distance"].item() == pytest.approx((distance.sqrt() / norm).item(), rel=0.2)


def test_levels__each_step__leaves_the_other_level_to_the_bit():
    config = replace(BASE, pretext=JointEmbeddingConfig(name="byol", hidden=5, outputs=4, num_layers=2))
    task = Task(class_names=("a", "b"), channels=3, height=16, width=16)
    method = config.build(BackboneConfig(name="resnet8").build(task, seed=0), task, seed=0).train()
    state = TrainState(method.optimizers(), seed=0, num_steps=40)
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.arange(8) % 2, torch.arange(8))
    shown = dict.fromkeys(config.required_views(), batch)
    for step in range(8):
        state.step = step
        before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
        plan = config.plan(step)
        method.update(state, {name: shown[name] for name in plan.batches}, RUNTIME)
        changed = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
        if plan.kind == "lower":
            assert not any(name.startswith("upper.") for name in changed)
            assert any(name.startswith("backbone.") for name in changed)
        else:
            assert all(name.startswith("upper.") for name in changed), changed
            assert any("running_mean" in name for name in changed)


def test_batch_norm__move__lets_upper_steps_move_the_lower_running_statistics():
    config = replace(BASE, batch_norm="move", iterations=2)
    task = Task(class_names=("a", "b"), channels=3, height=16, width=16)
    method = config.build(BackboneConfig(name="resnet8").build(task, seed=0), task, seed=0).train()
    state = TrainState(method.optimizers(), seed=0, num_steps=40, step=2)
    batch = Batch(torch.randn(8, 3, 16, 16), torch.arange(8) % 2, torch.arange(8))
    before = {name: tensor.clone() for name, tensor in method.backbone.named_buffers()}
    method.update(state, dict.fromkeys(config.plan(2).batches, batch), RUNTIME)
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
            method.update(state, lower_only(batches(config)), RUNTIME)
        ends.append(flat([*method.backbone.parameters()]))
    assert torch.equal(*ends)


def test_strong_coupling__lower_steps__tie_the_backbones():
    config = replace(BASE, coupling=1000.0, lower_optimizer=replace(SGD, lr=1e-3))  # lr < 2 / coupling
    method, state = make(config, apart=0.3)
    for step in (0, 1):
        state.step = step
        metrics = method.update(state, lower_only(batches(config)), RUNTIME)
    assert metrics["distance"] < 1e-2


def test_plan__two_alternations__counts_steps_batches_and_products():
    config = BiSSL.Config()
    plans = [config.plan(step) for step in range(2 * config.steps_per_epoch({}))]
    assert [plan.kind for plan in plans].count("lower") == 40
    uppers = [plan for plan in plans if plan.kind != "lower"]
    assert [plan.batches["train"] for plan in uppers] == list(range(16))
    assert [plan.batches["curvature_first"] for plan in uppers] == [0] * 8 + [1] * 8
    assert [plan.batches["first"] for plan in plans if plan.kind == "lower"] == list(range(40))
    assert {plan.optimizers for plan in uppers} == {("upper",)}
    assert len(uppers) // 2 * config.iterations == 40


def test_hessian__an_alternation__is_built_once_and_anew_after_lower_steps():
    method, state = make()
    shown = batches()
    built = []
    for step in range(2, 8):
        state.step = step
        names = BASE.plan(step).batches
        method.update(state, {name: shown[name] for name in names}, RUNTIME)
        built.append(method._hessian)
    assert built[0] is built[1] is not None
    assert built[2] is built[3] is None
    assert built[4] is built[5] is not built[0]


def test_mfac__last_lower_gradients__solve_with_their_fisher_matrix():
    config = replace(BASE, solver="mfac", coupling=0.3)
    method, state = make(config)
    lower = lower_only(batches(config))
    gradients = []
    for step in (0, 1):
        state.step = step
        loss = method.pretext(method.backbone, Pair(lower["first"].images, lower["second"].images)).loss
        gradients.append(flat(torch.autograd.grad(loss, [*method.backbone.parameters()])))
        method.update(state, lower, RUNTIME)
    state.step = 2
    shown = {"train": batches(BASE)["train"]}
    v, _, g2, _, _ = expected_parts(method, batches(BASE))
    fisher = torch.stack(gradients).T @ torch.stack(gradients) / 2
    SEEN.clear()
    method.update(state, shown, Watch(config=RUNTIME.config, device=RUNTIME.device))
    z = 0.3 * torch.linalg.solve(fisher + 0.3 * torch.eye(len(v), dtype=v.dtype), v)
    assert torch.allclose(flat(SEEN[0][: len([*method.backbone.parameters()])]), z + g2, rtol=1e-8, atol=1e-12)


def test_clip_norm__above_it__scales_all_gradients_of_a_level_down():
    method, state = make(replace(BASE, clip_norm=1e-3))
    before = flat([p.detach().clone() for p in method.upper.parameters()])
    method.update(state, upper_only(batches()), RUNTIME)
    after = flat([p.detach() for p in method.upper.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.05 * 1e-3, rel=1e-3)


def test_byol__first_step__takes_the_target_anew_from_the_lower_backbone():
    config = replace(BASE, pretext=JointEmbeddingConfig(name="byol", hidden=5, outputs=4, num_layers=2, momentum=1.0))
    method, state = make(config)
    with torch.no_grad():
        for parameter in method.backbone.parameters():
            parameter.mul_(2)
    start = flat([p.detach().clone() for p in method.backbone.parameters()])
    state.step = 0
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
        ({"damping": float("inf")}, "damping >= 0 and finite"),
        ({"clip_norm": 0.0}, "clip-norm > 0"),
        ({"coupling": 0.0, "damping": 0.0}, "above 0"),
        ({"coupling": 0.0, "solver": "mfac"}, "above 0"),
    ],
)
def test_config__bad_value__is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        BiSSL.Config(**options)
