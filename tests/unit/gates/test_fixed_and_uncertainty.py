"""uniform and uncertainty."""

import math

import pytest
import torch

from auxo.gates import GateStep


def test_uniform__three_tasks__is_the_mean_of_the_losses(build, tasks, runtime):
    result = build(name="uniform")(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))
    assert result.loss.item() == pytest.approx(tasks.losses.mean().item(), rel=1e-12)
    assert result.weights.tolist() == pytest.approx([1 / 3] * 3)


def test_uncertainty__first_weights__are_those_of_uniform(build, tasks, runtime):
    result = build(name="uncertainty")(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))
    assert result.loss.item() == pytest.approx(tasks.losses.mean().item(), rel=1e-12)
    assert result.weights.tolist() == pytest.approx([1 / 3] * 3)


def test_uncertainty__given_variances__is_the_papers_formula(build, tasks, runtime):
    gate = build(name="uncertainty")
    values = [0.3, -0.7, 1.1]
    with torch.no_grad():
        gate.log_variances.copy_(torch.tensor(values))
    result = gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))
    means = tasks.losses.mean(0).tolist()
    terms = [math.exp(-s) * loss + s / 2 for s, loss in zip(gate.log_variances.tolist(), means, strict=True)]
    assert result.loss.item() == pytest.approx(sum(terms) / 3, rel=1e-12)


def test_uncertainty__variances_of_the_closed_form__are_where_the_gradient_vanishes(build, tasks, runtime):
    gate = build(name="uncertainty")
    means = tasks.losses.detach().mean(0)
    with torch.no_grad():
        gate.log_variances.copy_((2 * means).log())
    result = gate(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))
    (gradient,) = torch.autograd.grad(result.loss, gate.log_variances)
    torch.testing.assert_close(gradient, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(result.weights * means, torch.full((3,), 1 / 6, dtype=torch.float64))
