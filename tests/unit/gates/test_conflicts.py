"""The monitor of conflicts: cosines and norms against plain gradients, what is kept of them, and what is shown."""

import math

import pytest
import torch

from auxo.gates import ConflictMonitor, GateStep
from auxo.types import Batch


def make_step(runtime, primary, *losses):
    """A step whose losses have these gradients in a shared weight, and the losses by name."""
    weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    primary_loss, *rest = (weight @ torch.tensor(each, dtype=torch.float64) for each in (primary, *losses))
    batch = Batch(torch.zeros(4, 3, 2, 2), {}, torch.arange(4))
    step = GateStep(batch, runtime, shared={"w": weight}, primary_loss=primary_loss)
    return step, dict(zip("abc", rest, strict=False))


def test_look__known_gradients__gives_cosines_and_norms(runtime):
    monitor = ConflictMonitor(("a", "b"))
    told = monitor.look(*make_step(runtime, [3.0, 4.0], [6.0, 8.0], [-4.0, 3.0]))
    assert {name: float(value) for name, value in told.items()} == pytest.approx(
        {"primary_gradient": 5.0, "a_cosine": 1.0, "a_gradient": 10.0, "b_cosine": 0.0, "b_gradient": 5.0}, abs=1e-12
    )
    assert not any(value.requires_grad for value in told.values())


def test_look__loss_without_a_gradient__has_the_cosine_zero(runtime):
    step, losses = make_step(runtime, [1.0, 0.0], [0.0, 0.0])
    told = ConflictMonitor(("a",)).look(step, losses)
    assert (float(told["a_cosine"]), float(told["a_gradient"])) == (0.0, 0.0)


def test_exhibits__several_looks__are_mean_lowest_highest_and_conflicts(runtime):
    monitor = ConflictMonitor(("a",))
    for angle in (0.0, 60.0, 120.0):
        direction = [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
        monitor.look(*make_step(runtime, [1.0, 0.0], direction))
    text, table = monitor.exhibits()
    assert "at 3 steps" in text.text
    assert table.rows == [("a", "0.333", "-0.500", "1.000", "33 %")]
    monitor.restart()
    assert monitor.exhibits() == ()


def test_state__saved_and_read__goes_on_with_the_same_totals(runtime):
    first, second = ConflictMonitor(("a",)), ConflictMonitor(("a",))
    first.look(*make_step(runtime, [1.0, 0.0], [-1.0, 0.0]))
    second.load_state_dict(first.state_dict())
    for monitor in (first, second):
        monitor.look(*make_step(runtime, [1.0, 0.0], [1.0, 1.0]))
    assert first.exhibits() == second.exhibits()


def test_look__step_without_a_primary_loss__is_refused(runtime):
    step = GateStep(Batch(torch.zeros(4, 3, 2, 2), {}, torch.arange(4)), runtime)
    with pytest.raises(ValueError, match="a step with its primary loss"):
        ConflictMonitor(("a",)).look(step, {})
