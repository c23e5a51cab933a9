"""The attack that methods train against: where it ends, what it leaves alone, and the literal mode's faults."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auxo.errors import ConfigError
from auxo.layers.batch_norm import use_running_statistics
from auxo.losses.attacks import PGDConfig, attack_mode, projected_gradient_descent
from auxo.random import Draws, named_generator
from auxo.types import Normalisation

NORMALISATION = Normalisation(torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.25, 0.2, 0.3]).view(3, 1, 1))
TEN_STEPS = PGDConfig(steps=10)


def draws(seed=0, **part):
    return Draws(named_generator(seed, "attack"), **part)


def pictures(count=12, seed=0):
    """Pixels in [0, 1], a fifth of them black and a fifth white, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return (1.6 * torch.rand(count, 3, 8, 8, generator=generator, dtype=torch.float64) - 0.3).clamp(0, 1)


def network(seed=0):
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(288, 4))
    return nn.Sequential(*layers).double()


def loss_of(net, count=12):
    labels = torch.arange(count) % 4
    return lambda inputs: nn.functional.cross_entropy(net(inputs), labels, reduction="sum")


def attacked_pixels(pixels, config, *, net=None, seed=0):
    """The pixels after an attack on a network in evaluation mode."""
    net = network().eval() if net is None else net
    inputs = NORMALISATION.to_inputs(pixels)
    after = projected_gradient_descent(inputs, NORMALISATION, loss_of(net, len(pixels)), config, draws=draws(seed))
    return NORMALISATION.to_pixels(after)


@settings(max_examples=25, deadline=None)
@given(
    epsilon=st.floats(1e-3, 1.0),
    step_size=st.floats(1e-3, 1.0),
    steps=st.integers(1, 5),
    random_start=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_pgd__any_strength__stays_in_the_ball_around_the_clean_picture_and_in_the_range(
    epsilon, step_size, steps, random_start, seed
):
    config = PGDConfig(steps=steps, epsilon=epsilon, step_size=step_size, random_start=random_start)
    clean = pictures(seed=seed)
    after = attacked_pixels(clean, config, seed=seed)
    assert (after - clean).abs().max() <= epsilon + 1e-6
    assert after.min() >= -1e-6
    assert after.max() <= 1 + 1e-6


def test_pgd__more_steps__raise_the_loss():
    net, clean = network().eval(), pictures()
    losses = [
        loss_of(net)(NORMALISATION.to_inputs(attacked_pixels(clean, replace(TEN_STEPS, steps=steps), net=net))).item()
        for steps in (0, 1, 3, 10)
    ]
    assert losses == sorted(losses)
    assert losses[-1] > 1.1 * losses[0]


def test_pgd__linear_loss_from_the_clean_picture__takes_the_corner_of_the_ball():
    weights = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    config = PGDConfig(steps=4, epsilon=0.05, step_size=0.02, random_start=False)
    clean = pictures()
    after = projected_gradient_descent(
        NORMALISATION.to_inputs(clean), NORMALISATION, lambda x: (x * weights).sum(), config, draws=draws()
    )
    expected = (clean + 0.05 * weights.sign()).clamp(0, 1)
    torch.testing.assert_close(NORMALISATION.to_pixels(after), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("config", "expected_step"),
    [(TEN_STEPS, 2 / 255), (replace(TEN_STEPS, literal=True), 2 / 225)],
    ids=["meant", "literal"],
)
def test_pgd__one_step_from_a_fixed_start__is_of_the_step_size(config, expected_step):
    clean = torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64)
    after = attacked_pixels(clean, replace(config, steps=1, random_start=False))
    assert (after - clean).abs().max().item() == pytest.approx(expected_step, rel=1e-12)


def test_pgd__random_start__is_that_of_the_joined_batch():
    net, inputs = network().eval(), NORMALISATION.to_inputs(pictures())
    labels = torch.arange(12) % 4

    def attack(part, **share):
        def loss(images):
            return nn.functional.cross_entropy(net(images), labels[part], reduction="sum")

        return projected_gradient_descent(inputs[part], NORMALISATION, loss, TEN_STEPS, draws=draws(**share))

    whole = attack(slice(0, 12))
    parts = [attack(slice(0, 5), first=0, total=12), attack(slice(5, 12), first=5, total=12)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)
    assert not torch.equal(
        whole, projected_gradient_descent(inputs, NORMALISATION, loss_of(net), TEN_STEPS, draws=draws(seed=1))
    )


@pytest.mark.parametrize("literal", [False, True])
def test_pgd__inputs_weights_and_gradients__are_left_alone(literal):
    net, inputs = network(), NORMALISATION.to_inputs(pictures())
    before, weights = inputs.clone(), {name: tensor.clone() for name, tensor in net.named_parameters()}
    after = projected_gradient_descent(
        inputs, NORMALISATION, loss_of(net), replace(TEN_STEPS, literal=literal), draws=draws()
    )
    assert torch.equal(inputs, before)
    assert not inputs.requires_grad
    assert not after.requires_grad
    assert all(torch.equal(weights[name], tensor) for name, tensor in net.named_parameters())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("off", [{"steps": 0}, {"epsilon": 0.0}])
def test_pgd__switched_off__returns_the_images_and_draws_nothing(off):
    generator, inputs = named_generator(0, "attack"), NORMALISATION.to_inputs(pictures())
    config = replace(TEN_STEPS, **off)
    assert not config.is_on
    state = generator.get_state()
    after = projected_gradient_descent(inputs, NORMALISATION, torch.sum, config, draws=Draws(generator))
    assert torch.equal(after, inputs)
    assert torch.equal(generator.get_state(), state)


def test_pgd__channels_last_float32__keeps_layout_and_dtype():
    inputs = NORMALISATION.to_inputs(pictures()).float().contiguous(memory_format=torch.channels_last)
    net = network().float().eval()
    after = projected_gradient_descent(inputs, NORMALISATION, loss_of(net), TEN_STEPS, draws=draws())
    assert after.dtype == torch.float32
    assert after.is_contiguous(memory_format=torch.channels_last)


def test_pgd__literal__drifts_to_twice_epsilon_from_the_clean_picture():
    clean, epsilon = pictures(), TEN_STEPS.epsilon
    drifted = (attacked_pixels(clean, replace(TEN_STEPS, literal=True)) - clean).abs().max().item()
    meant = (attacked_pixels(clean, TEN_STEPS) - clean).abs().max().item()
    assert meant == pytest.approx(epsilon, abs=1e-9)
    assert 1.9 * epsilon < drifted <= 2 * epsilon + 1e-9


def released_attack(bx, loss, *, noise, steps):
    """The released attack in its own words: the start is added in place to the clean batch."""
    bx += noise
    adv_bx = bx.clone()
    for _ in range(steps):
        adv_bx.requires_grad_()
        (grad,) = torch.autograd.grad(loss(NORMALISATION.to_inputs(adv_bx)), adv_bx)
        adv_bx = adv_bx.detach() + (2 / 225) * torch.sign(grad)
        adv_bx = torch.min(torch.max(adv_bx, bx - 8 / 255), bx + 8 / 255).clamp(0, 1)
    return adv_bx


def test_pgd__literal__equals_a_second_writing_of_the_released_attack():
    clean, net = pictures(), network().eval()
    noise = (2 * draws().uniform(12, (3, 8, 8)) - 1) * 8 / 255
    expected = released_attack(clean.clone(), loss_of(net), noise=noise, steps=10)
    found = attacked_pixels(clean, replace(TEN_STEPS, literal=True), net=net)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_attack_mode__training__puts_batch_norm_alone_in_evaluation_mode():
    net = network().train()
    net[1].eval()
    outer = nn.Sequential(net, nn.BatchNorm1d(4).double())
    modes = [module.training for module in outer.modules()]
    statistics = {name: buffer.clone() for name, buffer in outer.named_buffers()}
    with attack_mode(outer, TEN_STEPS):
        assert outer.training
        assert net[4].training
        assert not outer[1].training
        outer(pictures())
    assert [module.training for module in outer.modules()] == modes
    assert all(torch.equal(statistics[name], buffer) for name, buffer in outer.named_buffers())


def test_attack_mode__literal__leaves_batch_norm_in_training_mode():
    net = network().train()
    inputs = NORMALISATION.to_inputs(pictures())
    config = replace(TEN_STEPS, literal=True)
    with attack_mode(net, config):
        projected_gradient_descent(inputs, NORMALISATION, loss_of(net), config, draws=draws())
    assert net[1].num_batches_tracked.item() == config.steps


def test_use_running_statistics__error_inside__restores_the_mode():
    net = network().train()
    with pytest.raises(RuntimeError, match="input"), use_running_statistics(net):
        net(torch.zeros(1, 2, 8, 8).double())
    assert net[1].training


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": -1}, "steps >= 0"),
        ({"epsilon": 8.0}, r"epsilon in \[0, 1\], got 8\.0"),
        ({"epsilon": -0.1}, "epsilon"),
        ({"step_size": 0.0}, r"step-size in \(0, 1\], got 0\.0"),
        ({"epsilon": float("nan")}, "epsilon"),
    ],
)
def test_config__out_of_range__is_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        PGDConfig(**values)


@pytest.mark.parametrize(
    "option", [{"epsilon": 0.1}, {"step_size": 0.01}, {"random_start": False}, {"literal": True}], ids=str
)
def test_config__option_without_steps__is_refused(option):
    (name,) = option
    with pytest.raises(ConfigError, match=rf"steps >= 1 beside {name.replace('_', '-')}, got 0"):
        PGDConfig(**option)
    assert PGDConfig(steps=1, **option).steps == 1
