"""frozen, learned and learned_scalar: the forms by hand, the guard, and which gradients there are."""

import math

import pytest
import torch
from torch import nn

from auxo.gates import GateStep
from auxo.gates._softmax import softmax_loss

FORMS = ("mean_of_softmax", "softmax_of_mean", "per_sample")


def call(gate, tasks, runtime):
    return gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))


def by_hand(losses, logits, form):
    """Loss and weights in numbers, sample by sample."""
    rows = [[math.exp(z) for z in row] for row in logits.tolist()]
    shares = [[value / sum(row) for value in row] for row in rows]
    count, tasks = len(rows), len(rows[0])
    weights = [sum(row[t] for row in shares) / count for t in range(tasks)]
    if form == "softmax_of_mean":
        means = [math.exp(logits[:, t].mean().item()) for t in range(tasks)]
        weights = [value / sum(means) for value in means]
    if form == "per_sample":
        loss = sum(shares[b][t] * losses[b][t].item() for b in range(count) for t in range(tasks)) / count
    else:
        loss = sum(weights[t] * losses[:, t].mean().item() for t in range(tasks))
    return loss, weights


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["frozen", "learned"])
def test_forms__three_tasks__are_those_computed_sample_by_sample(build, tasks, runtime, name, form):
    unguarded = {"entropy": 0.0, "normalise_losses": False} if name == "learned" else {}  # the frozen gate has no guard
    gate = build(name=name, form=form, init="kaiming", **unguarded)
    result = call(gate, tasks, runtime)
    logits = tasks.features @ gate.layer.weight.T + gate.layer.bias
    loss, weights = by_hand(tasks.losses, logits, form)
    assert result.loss.item() == pytest.approx(loss, rel=1e-12)
    assert result.weights.tolist() == pytest.approx(weights, rel=1e-12)
    assert result.weights.sum().item() == pytest.approx(1, rel=1e-12)
    assert not result.weights.requires_grad


def test_forms__samples_that_disagree__differ(tasks, runtime):
    logits = torch.zeros(12, 3, dtype=torch.float64)
    logits[0, 0] = 100.0
    weights = {
        form: softmax_loss(tasks.losses, logits, form=form, entropy=0.0, batch=tasks.batch, runtime=runtime).weights
        for form in FORMS
    }
    assert weights["mean_of_softmax"][0].item() == pytest.approx((1 + 11 / 3) / 12)
    assert weights["softmax_of_mean"][0].item() == pytest.approx(1 / (1 + 2 * math.exp(-100 / 12)))
    assert torch.equal(weights["per_sample"], weights["mean_of_softmax"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("entropy", [0.0, 1.0])
def test_forms__a_weight_that_underflows__leave_loss_and_gradient_finite(tasks, runtime, form, entropy):
    logits = torch.zeros(12, 3, dtype=torch.float64)
    logits[:, 0] = 1e4
    logits.requires_grad_()
    result = softmax_loss(tasks.losses, logits, form=form, entropy=entropy, batch=tasks.batch, runtime=runtime)
    assert result.weights.tolist() == [1, 0, 0]
    assert torch.isfinite(result.loss)
    assert torch.isfinite(torch.autograd.grad(result.loss, logits)[0]).all()


def test_learned__guard__divides_by_guessing_and_rewards_entropy(build, tasks, runtime):
    gate = build(name="learned", entropy=0.25)
    result = call(gate, tasks, runtime)
    means, weights = tasks.losses.mean(0).tolist(), result.weights.tolist()
    expected = sum(w * loss / math.log(k) for w, loss, k in zip(weights, means, (2, 16, 6), strict=True))
    expected += 0.25 * sum(w * math.log(w) for w in weights)
    assert result.loss.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_learned__gradient_of_the_layer__equals_finite_differences(build, tasks, runtime, form):
    gate = build(name="learned", form=form, entropy=0.3)
    result = call(gate, tasks, runtime)
    gradients = torch.autograd.grad(result.loss, list(gate.parameters()), retain_graph=True)
    step = 1e-6
    for parameter, gradient in zip(gate.parameters(), gradients, strict=True):
        assert gradient.norm() > 1e-4
        numeric = torch.zeros_like(parameter)
        with torch.no_grad():
            for place in range(parameter.numel()):
                values = []
                for sign in (1, -2, 1):  # up, down, and back
                    parameter.view(-1)[place] += sign * step
                    values.append(call(gate, tasks, runtime).loss.item())
                numeric.view(-1)[place] = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-9)


def test_learned__gradient__reaches_the_features_through_the_weights(build, tasks, runtime):
    gate = build(name="learned", normalise_losses=False, entropy=0.0)
    fixed = tasks.losses.detach()
    loss = gate(fixed, tasks.features, GateStep(tasks.batch, runtime)).loss
    (gradient,) = torch.autograd.grad(loss, tasks.features)
    assert gradient.norm() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_frozen__step_with_weight_decay__leaves_every_bit_and_has_no_gradient(build, tasks, runtime, form):
    gate = build(name="frozen", form=form)
    before = {name: tensor.clone() for name, tensor in gate.state_dict().items()}
    optimizer = torch.optim.SGD(gate.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    call(gate, tasks, runtime).loss.backward()
    optimizer.step()
    assert all(parameter.grad is None for parameter in gate.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in gate.state_dict().items())
    assert set(gate.frozen_parameters()) == set(before)


def test_frozen__gradient_of_the_tasks__is_weighted(build, tasks, runtime):
    result = call(build(name="frozen"), tasks, runtime)
    leaf = tasks.losses.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        build(name="frozen")(leaf, tasks.features, GateStep(tasks.batch, runtime)).loss, leaf
    )
    torch.testing.assert_close(gradient, (result.weights / 12).expand(12, 3), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["learned", "learned_scalar"])
def test_learned__step__moves_towards_the_task_of_lowest_relative_loss(build, tasks, runtime, name):
    gate = build(name=name, entropy=0.0)
    easiest = (tasks.losses.mean(0) / torch.tensor([2.0, 16.0, 6.0]).log()).argmin()
    before = call(gate, tasks, runtime)
    optimizer = torch.optim.SGD(gate.parameters(), lr=0.05)
    before.loss.backward(retain_graph=True)
    optimizer.step()
    after = call(gate, tasks, runtime)
    assert after.weights[easiest] > before.weights[easiest]
    assert after.loss < before.loss


@pytest.mark.parametrize("entropy", [0.2, 1.0])
def test_learned_scalar__weights_of_the_closed_form__are_where_the_gradient_vanishes(build, tasks, runtime, entropy):
    gate = build(name="learned_scalar", entropy=entropy)
    relative = tasks.losses.detach().mean(0) / torch.tensor([2.0, 16.0, 6.0], dtype=torch.float64).log()
    assert torch.autograd.grad(call(gate, tasks, runtime).loss, gate.logits)[0].norm() > 1e-2
    with torch.no_grad():
        gate.logits.copy_(-relative / entropy)
    (gradient,) = torch.autograd.grad(call(gate, tasks, runtime).loss, gate.logits)
    torch.testing.assert_close(gradient, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_learned_scalar__first_weights__are_equal(build, tasks, runtime):
    gate = build(name="learned_scalar")
    assert isinstance(gate.logits, nn.Parameter)
    torch.testing.assert_close(call(gate, tasks, runtime).weights, torch.full((3,), 1 / 3, dtype=torch.float64))
