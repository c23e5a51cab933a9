"""MAXL's second level against a plain double backward and central differences, in float64."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.interfaces import TrainState
from auxo.methods.maxl import MAXL
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch

from .maxl_plain import generator_loss

COUNTS, RATE = (2, 3, 1, 2), 0.3
CONFIG = replace(MAXL.Config.tiny(), sub_classes=COUNTS, alpha=RATE, passes="interleaved")
NAMES = ("arrow", "l", "t", "wedge")


class Both(nn.Module):
    def __init__(self, method):
        super().__init__()
        self.backbone, self.semantic, self.auxiliary = method.backbone, method.semantic, method.auxiliary

    def forward(self, images):
        pooled = self.backbone(images).pooled
        return torch.cat([self.semantic(pooled), self.auxiliary(pooled)], dim=1)


def make(config):
    task = Classification(class_names=NAMES, channels=3, height=28, width=28, class_counts=(6, 6, 6, 6))
    method = config.build(Networks(BackboneConfig(), task, seed=3)).double().train()
    source = oriented_shapes(12, size=28, seed=5)
    images = source.images.double() / 127.5 - 1
    batch = Batch(images, {"label": source.columns["label"].values.clamp(max=3)}, torch.arange(12))
    return method, batch


def second_level(method, batch, kind="second"):
    """The gradient that a step of the second level hands to the optimiser, as one vector, and the metrics."""
    caught = []

    class Watch(Runtime):
        def apply(self, optimizer, gradients, *, max_norm=None):
            caught.extend(gradients)
            super().apply(optimizer, gradients, max_norm=max_norm)

    runtime = Watch(config=RuntimeConfig(device="cpu", precision="float32"), device=torch.device("cpu"))
    state = TrainState(method.optimizers(), kind=kind)
    metrics = method.update(state, {"second": batch}, runtime)
    return torch.cat([gradient.reshape(-1) for gradient in caught]), metrics


def generator_parameters(method):
    return [*method.generator.parameters()]


def plain_loss(method, batch, *, entropy_weight, rate=RATE, gamma=2.0, counts=COUNTS):
    return generator_loss(
        Both(method),
        lambda images: method.generator.head(method.generator.backbone(images).pooled),
        batch.images,
        batch.labels,
        counts=list(counts),
        rate=rate,
        weight=1.0,
        entropy_weight=entropy_weight,
        gamma=gamma,
    )


def plain_gradient(method, batch, **options):
    slopes = torch.autograd.grad(plain_loss(method, batch, **options), generator_parameters(method))
    return torch.cat([slope.reshape(-1) for slope in slopes])


def relative(found, exact):
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize("way", ["forward", "second_order"])
@pytest.mark.parametrize("entropy_weight", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_second_level__exact_ways__plain_double_backward(way, entropy_weight, gamma):
    method, batch = make(replace(CONFIG, hypergradient=way, entropy_weight=entropy_weight, gamma=gamma))
    exact = plain_gradient(method, batch, entropy_weight=entropy_weight, gamma=gamma)
    found, _ = second_level(method, batch)
    assert exact.norm() > 1e-8
    assert relative(found, exact) < 1e-10


def test_second_level__plain_loss__central_differences_in_the_generator():
    method, batch = make(CONFIG)
    exact = plain_gradient(method, batch, entropy_weight=0.2)
    generator = torch.Generator().manual_seed(0)
    parameters = generator_parameters(method)
    for _ in range(3):
        # Along the gradient itself, in half of the parameters: along a random direction rounding would drown it.
        direction = exact / exact.norm() * (torch.rand(len(exact), generator=generator) < 0.5)
        pieces = direction.split([parameter.numel() for parameter in parameters])
        values = []
        for length in (1e-5, -1e-5):
            with torch.no_grad():
                for parameter, piece in zip(parameters, pieces, strict=True):
                    parameter.add_(length * piece.view_as(parameter))
            values.append(float(plain_loss(method, batch, entropy_weight=0.2).detach()))
            with torch.no_grad():
                for parameter, piece in zip(parameters, pieces, strict=True):
                    parameter.sub_(length * piece.view_as(parameter))
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float(exact @ direction), rel=1e-5)


def test_second_level__finite_difference__near_the_exact_one_and_the_released_length_farther_off():
    exact = plain_gradient(*make(CONFIG), entropy_weight=0.0)
    errors = {}
    for way in ("finite_difference", "first_order_released"):
        found, _ = second_level(*make(replace(CONFIG, hypergradient=way, entropy_weight=0.0)))
        errors[way] = relative(found, exact)
    assert errors["finite_difference"] < 1e-4
    assert errors["first_order_released"] > 10 * errors["finite_difference"]


@pytest.mark.parametrize("way", ["forward", "second_order", "finite_difference"])
def test_second_level__entropy_weight__adds_its_gradient_and_nothing_else(way):
    parts = {}
    for weight in (0.0, 0.2, 0.4):
        parts[weight], _ = second_level(*make(replace(CONFIG, hypergradient=way, entropy_weight=weight)))
    assert parts[0.0].norm() > 1e-8  # the trial step does depend on the labels
    torch.testing.assert_close(parts[0.4] - parts[0.0], 2 * (parts[0.2] - parts[0.0]), rtol=1e-8, atol=1e-14)
    exact = plain_gradient(*make(CONFIG), entropy_weight=0.2) - plain_gradient(*make(CONFIG), entropy_weight=0.0)
    assert relative(parts[0.2] - parts[0.0], exact) < 1e-6


def test_second_level__released_first_order_file__has_no_entropy():
    released = replace(CONFIG, hypergradient="first_order_released")
    with_weight, metrics = second_level(*make(released), kind="second, monitored")
    without, _ = second_level(*make(replace(released, entropy_weight=0.0)))
    assert torch.equal(with_weight, without)
    assert metrics["entropy_gradient"] == 0


def test_second_level__twice_the_trial_step__twice_the_gradient_in_the_limit():
    small, twice = (second_level(*make(replace(CONFIG, alpha=alpha, entropy_weight=0.0)))[0] for alpha in (1e-6, 2e-6))
    assert relative(twice, 2 * small) < 1e-4


def test_second_level__one_sub_class_each__nothing_to_learn():
    config = replace(CONFIG, sub_classes=(1,), entropy_weight=0.0)
    found, _ = second_level(*make(config))
    assert found.abs().max() < 1e-15
