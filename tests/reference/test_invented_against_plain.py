"""AuxiLearn's losses and the step of its labelling network against plain PyTorch, in float64."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.bilevel import ClassBatch, Implicit, Neumann, differentiate_labels
from auxo.data.fake import oriented_shapes
from auxo.gates.uniform import UniformGate
from auxo.interfaces import TrainState
from auxo.layers.heads import SideBySide
from auxo.losses import focal_terms
from auxo.methods.auxilearn import AuxiLearn
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GivenTasksConfig
from auxo.pretexts.labelling import InventedTaskConfig
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch

from .invented_plain import combined_loss, focal_loss, implicit_gradient, label

COUNTS, RATE, GAMMA = (2, 3, 1, 2), 0.05, 2.0
STILL = OptimizerConfig(lr=1e-12, momentum=0.0, nesterov=False, weight_decay=0.0)


def make(**options):
    """A method in float64, its training batch, and another batch that judges labels."""
    invented = {"sub_classes": COUNTS, "every": 1, "hidden": 16, "gamma": GAMMA, "scale": RATE, **options}
    config = AuxiLearn.Config(
        given=GivenTasksConfig(columns=("fine",), pretexts=("rotation",)),
        invented=InventedTaskConfig(**invented),
        gate=UniformGate.Config(),
        optimizer=STILL,
        weight=0.7,
    )
    names = ("arrow", "l", "t", "wedge")
    task = Classification(class_names=names, channels=3, height=28, width=28, class_counts=(6, 6, 6, 6))
    columns = {"fine": Target("fine", ("p", "q", "r"))}
    method = config.build(Networks(BackboneConfig(), task, seed=3, columns=columns)).double().train()
    source = oriented_shapes(20, size=28, seed=5)
    images, labels = source.images.double() / 127.5 - 1, source.columns["label"].values.clamp(max=3)
    batches = [
        Batch(images[part], {"label": labels[part], "fine": part % 3}, part)
        for part in (torch.arange(12), torch.arange(12, 20))
    ]
    return method, *batches


def take_step(method, train, outer):
    """What both optimisers are handed in a step, and the metrics."""
    caught = []

    class Watch(Runtime):
        def apply(self, optimizer, gradients, *, max_norm=None):
            caught.append([None if each is None else each.clone() for each in gradients])

    runtime = Watch(config=RuntimeConfig(device="cpu", precision="float32"), device=torch.device("cpu"))
    metrics = method.update(TrainState(method.optimizers()), {"train": train, "outer": outer}, runtime)
    first, second = caught
    return first, second, metrics


def plain_losses(method, train, outer, weights):
    """The combined and the primary loss, and the parameters of both levels."""

    def network(images):
        return method.backbone(images).pooled

    heads = {
        "semantic": method.semantic,
        "column": method.given.column_heads[0],
        "rotation": method.given.pretexts["rotation"].head,
        "invented": method.invented.head,
    }
    generator = method.invented.generator
    own = label(lambda images: generator.head(generator.backbone(images).pooled), train.images, train.labels, COUNTS)
    inner = combined_loss(network, heads, train.images, train.targets, own, weights=weights, gamma=GAMMA)
    primary = torch.nn.functional.cross_entropy(heads["semantic"](network(outer.images)), outer.labels)
    upper = [*generator.parameters()]
    lower = [p for p in method.parameters() if not any(p is each for each in upper)]
    return inner, primary, lower, upper


WEIGHTS = {"column": 0.7, "rotation": 0.7, "invented": 0.7 * 0.25}


def test_lower_step__of_given_and_invented_tasks__follows_the_plain_combined_loss():
    method, train, outer = make()
    inner, _, lower, _ = plain_losses(method, train, outer, WEIGHTS)
    expected = torch.autograd.grad(inner, lower)
    first, _, metrics = take_step(method, train, outer)
    for found, plain in zip(first, expected, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-12)
    total = metrics["primary_loss"] + metrics["gated_loss"]
    torch.testing.assert_close(total, inner.detach(), rtol=1e-10, atol=0.0)


@pytest.mark.parametrize(("terms", "released"), [(0, False), (3, False), (3, True)])
def test_upper_step__terms_of_the_series__follows_the_plain_implicit_gradient(terms, released):
    method, train, outer = make(terms=terms, released_factor=released, clip=1e9)
    inner, primary, lower, upper = plain_losses(method, train, outer, WEIGHTS)
    options = {"scale": RATE, "products": terms, "has_factor": not released}
    expected = implicit_gradient(inner, primary, lower, upper, **options)
    _, second, metrics = take_step(method, train, outer)
    largest = max(float(plain.abs().max()) for plain in expected)
    for found, plain in zip(second, expected, strict=True):
        torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-9 * largest)
    torch.testing.assert_close(metrics["outer_loss"], primary.detach(), rtol=1e-10, atol=0.0)


def test_upper_step__entropy_weight__adds_the_slope_of_the_negative_entropy_of_the_mean_label():
    method, train, outer = make(clip=1e9)
    plain = take_step(method, train, outer)[1]
    method, train, outer = make(clip=1e9, entropy_weight=0.3)
    spread = take_step(method, train, outer)[1]
    generator = method.invented.generator
    own = label(lambda images: generator.head(generator.backbone(images).pooled), train.images, train.labels, COUNTS)
    mean = own.mean(0)
    slopes = torch.autograd.grad(0.3 * (mean * mean.log()).sum(), [*generator.parameters()])
    for found, without, slope in zip(spread, plain, slopes, strict=True):
        torch.testing.assert_close(found, without + slope, rtol=1e-7, atol=1e-12)


def test_differentiate_labels__implicit_with_a_head_that_the_outer_loss_does_not_touch__is_the_plain_gradient():
    method, train, outer = make()
    network = SideBySide(method.backbone, method.semantic, method.invented.head)
    weights = torch.rand(12, sum(COUNTS), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = (weights / weights.sum(1, keepdim=True)).requires_grad_()
    linear = Neumann(terms=4, scale=RATE, may_grow=True)
    result = differentiate_labels(
        network,
        labels.detach(),
        num_classes=4,
        inner=ClassBatch(train.images, train.labels),
        outer=ClassBatch(outer.images, outer.labels),
        terms=lambda logits: focal_terms(logits, gamma=GAMMA),
        weight=0.25,
        solver=Implicit(linear=linear),
    )
    classes = [torch.nn.functional.one_hot(each.labels, 4).double() for each in (train, outer)]
    outputs = [network(each.images) for each in (train, outer)]
    inner = focal_loss(outputs[0][:, :4], classes[0], GAMMA) + 0.25 * focal_loss(outputs[0][:, 4:], labels, GAMMA)
    primary = focal_loss(outputs[1][:, :4], classes[1], GAMMA)
    lower = [*network.parameters()]
    (expected,) = implicit_gradient(inner, primary, lower, [labels], scale=RATE, products=3, has_factor=True)
    torch.testing.assert_close(result.grads["labels"], expected, rtol=1e-7, atol=1e-12)
