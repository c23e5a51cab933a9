"""dwa: the mean losses of whole epochs, their ratios by hand, and a loss that falls to nothing."""

import math
from dataclasses import replace

import pytest
import torch

from auxo.gates import GateStep

LOSSES = ([[3.0, 1.0, 8.0], [1.0, 3.0, 4.0]], [[1.0, 2.0, 3.0], [1.0, 1.0, 9.0]], [[5.0, 5.0, 5.0], [0.5, 0.5, 0.5]])


def call(gate, values, tasks, runtime, epoch):
    """The gate's answer to losses whose means over the samples are given."""
    spread = tasks.losses.detach() - tasks.losses.detach().mean(0)
    losses = (spread + torch.tensor(values, dtype=torch.float64)).requires_grad_()
    return gate(losses, tasks.features, GateStep(tasks.batch, runtime, epoch=epoch))


def test_dwa__first_two_epochs__weights_are_equal(build, tasks, runtime):
    gate = build(name="dwa")
    for epoch, steps in enumerate(LOSSES[:2]):
        for values in steps:
            result = call(gate, values, tasks, runtime, epoch)
            assert result.weights.tolist() == pytest.approx([1 / 3] * 3)
            assert result.loss.item() == pytest.approx(sum(values) / 3)


@pytest.mark.parametrize("temperature", [2.0, 0.5])
def test_dwa__later_epochs__are_the_papers_formula(build, tasks, runtime, temperature):
    gate = build(name="dwa", temperature=temperature)
    means = [[sum(column) / 2 for column in zip(*steps, strict=True)] for steps in LOSSES]
    found = []
    for epoch in range(5):
        for values in (LOSSES * 2)[epoch]:
            found.append(call(gate, values, tasks, runtime, epoch))
    for epoch in (2, 3, 4):
        newer, older = means[(epoch - 1) % 3], means[(epoch - 2) % 3]
        raised = [math.exp(new / old / temperature) for new, old in zip(newer, older, strict=True)]
        expected = [value / sum(raised) for value in raised]
        for number in (0, 1):
            result = found[2 * epoch + number]
            assert result.weights.tolist() == pytest.approx(expected, rel=1e-12)
            values = (LOSSES * 2)[epoch][number]
            assert result.loss.item() == pytest.approx(
                sum(weight * value for weight, value in zip(expected, values, strict=True)), rel=1e-12
            )


def test_dwa__a_loss_that_fell_to_nothing__leaves_the_weights_finite(build, tasks, runtime):
    gate = build(name="dwa")
    for epoch, values in enumerate(([1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 2.0])):
        result = call(gate, values, tasks, runtime, epoch)
    assert result.weights.tolist() == pytest.approx(
        [value / (2 * math.exp(0.5) + 1) for value in (*[math.exp(0.5)] * 2, 1)]
    )
    assert torch.isfinite(call(gate, [1.0] * 3, tasks, runtime, 3).weights).all()


def test_dwa__losses_of_a_step_that_only_asks__do_not_count(build, tasks, runtime):
    gate = build(name="dwa")
    step = GateStep(tasks.batch, runtime, epoch=0)
    gate(tasks.losses, tasks.features, step)
    gate(100 * tasks.losses, tasks.features, replace(step, learns=False))
    torch.testing.assert_close(gate.mean, tasks.losses.detach().mean(0))
