"""Gated pretexts: widths and sizes, what the weights multiply, the pixels that are shuffled, evaluation."""

import pytest
import torch

from auxo.errors import ConfigError
from auxo.gates import GateConfig, GateStep
from auxo.gates.frozen import FrozenGate
from auxo.gates.uniform import UniformGate
from auxo.layers.heads import linear_head
from auxo.options import find_member
from auxo.pretexts import GatedPretextsConfig
from auxo.pretexts.compose import Compose
from auxo.random import Draws, named_generator
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch, Features, Normalisation

SIDE, COUNT, NUM_FEATURES = 8, 10, 64
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
UNIFORM = UniformGate.Config()


class Pool(torch.nn.Module):
    """A backbone without weights."""

    def forward(self, images):
        return Features(images.flatten(1)[:, :NUM_FEATURES], {})


def draws():
    return Draws(named_generator(0, "gated"))


def images():
    return torch.randn(COUNT, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def answered(config, class_losses=None, **options):
    """Features, targets and the loss of a batch."""
    pretexts = config.build(NUM_FEATURES, seed=0, **options).double()
    made = pretexts.make(images(), draws=draws())
    features = Pool()(made.inputs).pooled.requires_grad_()
    batch = Batch(made.inputs, {"label": made.sources}, made.sources)
    gated = pretexts(features, made.targets, GateStep(batch, RUNTIME), class_losses=class_losses)
    return pretexts, features, made, batch, gated


@pytest.mark.parametrize(("num_features", "size"), [(64, 1755), (128, 3483), (512, 13851)])
def test_parameters__three_tasks_and_their_gate__are_the_releases(num_features, size):
    for name in ("frozen", "learned"):
        pretexts = GatedPretextsConfig(gate=find_member(GateConfig, name)()).build(num_features, seed=0)
        assert sum(p.numel() for p in pretexts.parameters()) == size


def test_heads__of_the_three_tasks__have_two_sixteen_and_six_outputs():
    pretexts = GatedPretextsConfig(gate=FrozenGate.Config()).build(NUM_FEATURES, seed=0)
    assert {name: head.out_features for name, head in pretexts.heads.items()} == {
        "flip": 2,
        "lorot": 16,
        "channel_shuffle": 6,
    }
    assert pretexts.gate.layer.out_features == 3


def test_make__all_tasks__is_the_composed_pretext():
    pretexts = GatedPretextsConfig().build(NUM_FEATURES, seed=0)
    made, expected = pretexts.make(images(), draws=draws()), Compose().make(images(), draws=draws())
    assert torch.equal(made.inputs, expected.inputs)
    assert torch.equal(made.targets, expected.targets)


@pytest.mark.parametrize("tasks", [("lorot", "flip"), ("flip", "lorot")])
def test_make__tasks_in_another_order__applies_them_in_the_order_of_their_names(tasks):
    pretexts = GatedPretextsConfig(tasks=tasks).build(NUM_FEATURES, seed=0)
    assert pretexts.names == tasks
    expected = Compose(tasks).make(images(), draws=draws())
    assert torch.equal(pretexts.make(images(), draws=draws()).inputs, expected.inputs)


def test_first_weights__of_lorot__come_from_the_stream_of_rotation():
    pretexts = GatedPretextsConfig().build(NUM_FEATURES, seed=3)
    assert torch.equal(pretexts.heads["lorot"].weight, linear_head("rotation", NUM_FEATURES, 16, seed=3).weight)


def test_make__vertical_flip__differs_from_horizontal_only_where_flipped():
    made = {
        axis: GatedPretextsConfig(tasks=("flip",), flip_axis=axis, gate=UNIFORM).build(NUM_FEATURES, seed=0)
        for axis in ("horizontal", "vertical")
    }
    first, other = (pretexts.make(images(), draws=draws()) for pretexts in made.values())
    same = (first.inputs == other.inputs).flatten(1).all(1)
    assert torch.equal(same, first.targets[:, 0] == 0)


def test_make__channels_shuffled_among_pixels__exchanges_pixels_not_inputs():
    normalisation = Normalisation(
        torch.tensor([0.1, 0.5, 0.6]).double().view(3, 1, 1), torch.tensor([0.2, 0.3, 0.25]).double().view(3, 1, 1)
    )
    pixels = torch.rand(COUNT, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    config = GatedPretextsConfig(tasks=("channel_shuffle",), shuffle_space="pixels", gate=UNIFORM)
    pretexts = config.build(NUM_FEATURES, seed=0)
    made = pretexts.make(normalisation.to_inputs(pixels), draws=draws(), normalisation=normalisation)
    changed = normalisation.to_pixels(made.inputs)
    for before, after in zip(pixels, changed, strict=True):
        torch.testing.assert_close(before.flatten().sort().values, after.flatten().sort().values)
    assert (changed - pixels).abs().max() > 0.1
    with pytest.raises(ConfigError, match="how it was normalised"):
        pretexts.make(pixels, draws=draws())


def test_loss__uniform__is_the_weighted_mean_or_the_sum_of_the_losses():
    for normalise_weights, factor in ((True, 1 / 3), (False, 1.0)):
        config = GatedPretextsConfig(gate=UNIFORM, weight=0.2, normalise_weights=normalise_weights)
        pretexts, features, made, _, gated = answered(config)
        total = pretexts.losses(features, made.targets, runtime=RUNTIME).mean(0).sum()
        torch.testing.assert_close(gated.loss, 0.2 * factor * total)
        assert gated.weights.tolist() == pytest.approx([factor] * 3)
        assert set(gated.metrics) == {
            *(f"{name}_loss" for name in pretexts.names),
            *(f"gate_{name}" for name in pretexts.names),
            "gated_loss",
        }
        torch.testing.assert_close(gated.metrics["gated_loss"], (factor * total).detach())


def test_loss__weight_zero__has_no_gradient_and_every_parameter_is_listed():
    pretexts, _, _, _, gated = answered(GatedPretextsConfig(weight=0.0))
    assert gated.loss.item() == 0
    assert not gated.loss.requires_grad
    assert gated.metrics["lorot_loss"] > 0
    assert set(pretexts.frozen_parameters()) == {name for name, _ in pretexts.named_parameters()}


def test_loss__gate_that_covers_the_class_loss__holds_it():
    class_losses = torch.linspace(1, 2, COUNT, dtype=torch.float64).requires_grad_()
    config = GatedPretextsConfig(gate=UNIFORM, weight=0.2)
    pretexts, features, made, _, gated = answered(config, class_losses=class_losses, class_outputs=4)
    assert pretexts.names == ("class", "flip", "lorot", "channel_shuffle")
    total = pretexts.losses(features, made.targets, runtime=RUNTIME).mean(0).sum()
    torch.testing.assert_close(gated.loss, (class_losses.mean() + 0.2 * total) / 4)
    assert "gate_class" in gated.metrics


@pytest.mark.parametrize("options", [{"tasks": ()}, {"weight": 0.0}])
def test_build__cover_the_class_loss_alone__is_refused(options):
    with pytest.raises(ConfigError, match="pretexts beside the class loss"):
        GatedPretextsConfig(**options).build(NUM_FEATURES, seed=0, class_outputs=4)


def test_loss__no_tasks__is_zero():
    pretexts, _, made, _, gated = answered(GatedPretextsConfig(tasks=()))
    assert torch.equal(made.inputs, images())
    assert made.targets.shape == (COUNT, 0)
    assert gated.loss.item() == 0
    assert (gated.metrics, pretexts.pretext_heads(Pool()), list(pretexts.parameters())) == ({}, {}, [])


@pytest.mark.parametrize("name", ["frozen", "learned", "uncertainty", "uniform"])
def test_summed_loss__of_an_attack__is_the_sum_at_the_gates_weights(name):
    config = GatedPretextsConfig(gate=find_member(GateConfig, name)(), weight=0.3)
    pretexts, features, made, batch, gated = answered(config)
    class_losses = features.square().mean(1)
    total = pretexts.summed_loss(features, made.targets, class_losses, GateStep(batch, RUNTIME))
    losses = pretexts.losses(features, made.targets, runtime=RUNTIME)
    torch.testing.assert_close(total, class_losses.sum() + 0.3 * (gated.weights * losses.sum(0)).sum())
    total.backward()
    assert all(parameter.grad is None for parameter in pretexts.gate.parameters())


def test_summed_loss__weights_of_a_sum__are_those_of_the_training_loss():
    config = GatedPretextsConfig(gate=UNIFORM, weight=0.3, normalise_weights=False)
    pretexts, features, made, batch, gated = answered(config)
    class_losses = features.square().mean(1)
    total = pretexts.summed_loss(features, made.targets, class_losses, GateStep(batch, RUNTIME))
    torch.testing.assert_close(total, class_losses.sum() + COUNT * gated.loss)


def test_summed_loss__gate_that_covers_the_class_loss__holds_it_once():
    class_losses = torch.linspace(1, 2, COUNT, dtype=torch.float64)
    config = GatedPretextsConfig(gate=UNIFORM, weight=0.2)
    pretexts, features, made, batch, gated = answered(config, class_losses=class_losses, class_outputs=4)
    total = pretexts.summed_loss(features, made.targets, class_losses, GateStep(batch, RUNTIME))
    torch.testing.assert_close(total, COUNT * gated.loss)


def test_pretext_heads__of_each_task__answer_its_own_variants():
    pretexts = GatedPretextsConfig(gate=UNIFORM).build(NUM_FEATURES, seed=0).double()
    heads = pretexts.pretext_heads(Pool())
    assert list(heads) == ["flip", "lorot", "channel_shuffle"]
    for name, head in heads.items():
        made = head.pretext.make_all(images())
        assert torch.equal(head.answer(made.inputs), pretexts.heads[name](Pool()(made.inputs).pooled))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ("flip", "flip")}, "tasks of different pretexts, got flip twice"),
        ({"tasks": ("jigsaw",)}, "tasks of pretexts that change one quadrant and leave the rest, got jigsaw"),
        ({"tasks": ("simclr",)}, "tasks of pretexts that change one quadrant and leave the rest, got simclr"),
        ({"tasks": ("rotatoin",)}, "one of auxo's pretexts, got 'rotatoin'"),
        ({"weight": -0.1}, "weight >= 0"),
        ({"weight": float("nan")}, "weight >= 0"),
    ],
)
def test_config__bad_values__are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        GatedPretextsConfig(**options)
