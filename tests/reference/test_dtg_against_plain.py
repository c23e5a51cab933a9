"""The generator's step and manifold mixup against plain renderings, in float64."""

from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.interfaces import TrainState
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.pretexts import GivenTasksConfig
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch

from .dtg_plain import cross_entropy, implicit_gradient, instance_terms, make_items, mixup_loss

NAMES = ("arrow", "l", "t", "wedge")
SCALE = 0.3
CONFIG = replace(DTGAuxL.Config.tiny(), scale=SCALE, weight=0.7, given=GivenTasksConfig(columns=("side",)))
CONFIG = replace(CONFIG, given_weight=0.4)


def make_batch(first):
    source = oriented_shapes(24, size=28, seed=5)
    images = source.images[first : first + 10].double() / 127.5 - 1
    labels = source.columns["label"].values[first : first + 10].clamp(max=3)
    return Batch(images, {"label": labels, "side": torch.arange(10) % 2}, torch.arange(10))


def make(config, backbone="lenet5"):
    task = Classification(class_names=NAMES, channels=3, height=28, width=28, class_counts=(6, 6, 6, 6))
    columns = {"side": Target("side", ("left", "right"))}
    method = config.build(Networks(BackboneConfig(name=backbone), task, seed=3, columns=columns)).double().train()
    generator = method.generated.generator
    if generator is not None and config.generate != "labels":
        torch.nn.init.constant_(generator.strength, 0.2)  # else the residual would not be seen
    return method


def run_upper_step(method):
    """The gradient before clipping, as one vector, and the metrics."""
    caught = []

    class Watch(Runtime):
        def apply(self, optimizer, gradients, *, max_norm=None):
            caught.extend(gradients)
            super().apply(optimizer, gradients, max_norm=max_norm)

    runtime = Watch(config=RuntimeConfig(device="cpu", precision="float32"), device=torch.device("cpu"))
    state = TrainState(method.optimizers(), kind="upper")
    metrics = method.update(state, {"train": make_batch(0), "upper": make_batch(12)}, runtime)
    return torch.cat([gradient.reshape(-1) for gradient in caught]), metrics


def plain_parts(method, *, detach=False):
    """Everything plain: both losses, the items, theta and phi."""
    config, batch, judge = method.config, make_batch(0), make_batch(12)
    partners = TrainState({}).draws("pairs", batch).partners(10)
    weights = dict(method.generated.generator.named_parameters())
    phi = [*weights.values()]
    theta = [p for p in method.parameters() if all(p is not q for q in phi)]
    z = method.backbone(batch.images).pooled
    new, targets = make_items(
        weights,
        z,
        batch.labels,
        partners,
        num_classes=4,
        made=config.generate,
        sub_classes=(config.sub_classes or (0,))[0],
        detach=detach,
    )
    one_hot = torch.eye(4, dtype=torch.float64)
    (column,) = method.given.column_heads
    lower = (
        cross_entropy(method.semantic(z), one_hot[batch.labels])
        + 0.4 * cross_entropy(column(z), one_hot[batch.targets["side"]][:, :2])
        + 0.7 * cross_entropy((method.generated.own_head or method.semantic)(new), targets)
    )
    upper = cross_entropy(method.semantic(method.backbone(judge.images).pooled), one_hot[judge.labels])
    return lower, upper, (new, targets, z), theta, phi


def plain_gradients(method, **options):
    """The implicit part and the gradient of the regularisation, without its weight, as vectors."""
    config = method.config
    lower, upper, _, theta, phi = plain_parts(method, **options)
    implicit = implicit_gradient(lower, upper, theta, phi, scale=SCALE, products=config.products)
    method.zero_grad()
    with torch.no_grad():
        z = method.backbone(make_batch(0).images).pooled
    weights = dict(method.generated.generator.named_parameters())
    partners = TrainState({}).draws("pairs", make_batch(0)).partners(10)
    new, targets = make_items(
        weights, z, make_batch(0).labels, partners, num_classes=4, made=config.generate,
        sub_classes=(config.sub_classes or (0,))[0],
    )  # fmt: skip
    discriminate, information, anchor = instance_terms(new, targets, z, anchor_range=config.anchor_range)
    term = config.discriminate * discriminate + config.label_information * information + config.anchor * anchor
    explicit = torch.autograd.grad(term, phi, allow_unused=True, materialize_grads=True)
    return [torch.cat([part.reshape(-1) for part in parts]) for parts in (implicit, explicit)]


def relative(found, exact):
    return float((found - exact).norm() / exact.norm())


VARIANTS = {
    "both": {},
    "features": {"generate": "features"},
    "labels": {"generate": "labels"},
    "sub-classes": {"sub_classes": (3,)},
    "sub-classes of labels": {"sub_classes": (2,), "generate": "labels"},
    "anchor": {"anchor": 0.8, "discriminate": 0.3, "anchor_range": (0.3, 0.31)},
    "no regulariser": {"regularizer": 0.0},
    "one step unrolled": {"products": 0},
    "twelve products": {"products": 12},
    "the primary head": {"shared_head": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_upper_step__every_variant__plain_rendering(variant):
    config = replace(CONFIG, **VARIANTS[variant])
    implicit, explicit = plain_gradients(make(config))
    found, metrics = run_upper_step(make(config))
    assert implicit.norm() > 1e-8
    assert relative(found, implicit + config.regularizer * explicit) < 1e-10
    assert float(metrics["implicit_gradient"]) == pytest.approx(float(implicit.norm()), rel=1e-10)
    assert float(metrics["regularizer_gradient"]) == pytest.approx(
        config.regularizer * float(explicit.norm()), rel=1e-9
    )


def test_upper_step__batch_norm__plain_rendering_and_statistics_stay():
    implicit, explicit = plain_gradients(make(CONFIG, "resnet8"))
    method = make(CONFIG, "resnet8")
    before = {name: value.clone() for name, value in method.named_buffers()}
    found, _ = run_upper_step(method)
    assert relative(found, implicit + CONFIG.regularizer * explicit) < 1e-10
    assert any(name.endswith("running_mean") for name in before)
    assert all(torch.equal(value, before[name]) for name, value in method.named_buffers())


def test_upper_step__weight_of_the_regularisation__adds_its_gradient_and_nothing_else():
    _, explicit = plain_gradients(make(CONFIG))
    found = {weight: run_upper_step(make(replace(CONFIG, regularizer=weight)))[0] for weight in (0.0, 0.3)}
    assert explicit.norm() > 1e-6
    assert relative(found[0.3] - found[0.0], 0.3 * explicit) < 1e-10


def test_upper_step__no_product_and_a_short_step__derivative_of_one_step_of_the_task_model():
    rate = 1e-5
    method = make(replace(CONFIG, products=0, scale=rate, regularizer=0.0))
    found, _ = run_upper_step(method)
    method = make(CONFIG)
    lower, _, _, theta, phi = plain_parts(method)
    slopes = torch.autograd.grad(lower, theta, create_graph=True)
    names = {p: name for name, p in method.named_parameters()}
    moved = {names[t]: t - rate * s for t, s in zip(theta, slopes, strict=True)}

    class Primary(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.semantic = method.backbone, method.semantic

        def forward(self, images):
            return self.semantic(self.backbone(images).pooled)

    judge, primary = make_batch(12), Primary()
    own = {name: value for name, value in moved.items() if name.startswith(("backbone.", "semantic."))}
    logits = torch.func.functional_call(primary, own, (judge.images,))
    after = torch.nn.functional.cross_entropy(logits, judge.labels)
    exact = torch.cat([g.reshape(-1) for g in torch.autograd.grad(after, phi, materialize_grads=True)])
    assert relative(found, exact) < 1e-3


def test_upper_step__features_keep_their_graph__the_implicit_part_is_not_zero_as_it_would_be_without():
    config = replace(CONFIG, regularizer=0.0)
    broken, _ = plain_gradients(make(config), detach=True)
    assert torch.equal(broken, torch.zeros_like(broken))
    found, metrics = run_upper_step(make(config))
    assert found.norm() > 1e-6
    assert metrics["implicit_gradient"] > 1e-6


def mixup_task(made, share):
    """A generated task with its draws set, and what manifold mixup says of it: with the primary head, as published."""
    mixes = made == "mixup"
    options = {"generator": "manifold_mixup"} if mixes else {"generate": "features"}
    method, batch = make(replace(CONFIG, shared_head=True, **options)), make_batch(0)
    state, runtime = TrainState({}), Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
    if not mixes:  # no residual, and a gate that is the share everywhere
        generator = method.generated.generator
        torch.nn.init.zeros_(generator.strength)
        torch.nn.init.zeros_(generator.gate[3].weight)
        torch.nn.init.constant_(generator.gate[3].bias, float(torch.logit(share)))
    draws = state.draws("pairs", batch)
    pairing = method.generated.prepare(batch, draws=draws, share=share, runtime=runtime)
    features = method.backbone(batch.images)
    head = method.semantic
    plain = mixup_loss(features.pooled, batch.labels, pairing.partners, share, head.weight, head.bias, num_classes=4)
    return method, method.generated(features, pairing, head).mean(), plain


@pytest.mark.parametrize("made", ["mixup", "limit of the generator"])
def test_generated_task__no_residual_and_one_share__manifold_mixup_in_loss_and_gradient(made):
    method, ours, plain = mixup_task(made, torch.tensor(0.3, dtype=torch.float64))
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=0)
    parameters = [*method.backbone.parameters(), *method.semantic.parameters()]
    slopes = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in (ours, plain)]
    for a, b in zip(*slopes, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_lower_step__manifold_mixup__share_from_the_beta_distribution_anew_at_every_step():
    method, batch = make(replace(CONFIG, generator="manifold_mixup", mixup_alpha=2.0)), make_batch(0)
    runtime = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
    shares = [
        float(method._prepare_inputs(TrainState({}, step=step), batch, runtime).pairing.share) for step in range(400)
    ]
    values = torch.tensor(shares)
    assert len(set(shares)) == 400
    assert float(values.mean()) == pytest.approx(0.5, abs=0.04)
    assert float(values.var()) == pytest.approx(1 / 20, abs=0.01)  # a b / ((a + b)^2 (a + b + 1))
