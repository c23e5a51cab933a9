"""What a gate may know of a step: weights by the names of a method's parts, and losses at other values of them."""

import torch
from torch import nn

from auxo.gates import TaskLosses, build_gate_step
from auxo.interfaces import TrainState
from auxo.types import Batch

PARTS = ("backbone", "semantic", "other")


def make(runtime):
    """Parts with batch norm among them, a step, and the batch."""
    torch.manual_seed(0)
    parts = {
        "backbone": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)),
        "semantic": nn.Linear(4, 1),
        "other": nn.Linear(4, 1),
    }
    parts["backbone"][0].bias.requires_grad_(False)

    def answer(batch):
        features = parts["backbone"](batch.images.flatten(1)[:, :3])
        return TaskLosses(parts["other"](features).square(), parts["semantic"](features).square().squeeze(1))

    batch = Batch(torch.randn(6, 3, 1, 1), {}, torch.arange(6))
    own = Batch(torch.randn(2, 3, 1, 1), {}, torch.arange(2))
    found = answer(batch)
    step = build_gate_step(
        TrainState({}, step=5, num_steps=10, steps_per_epoch=2),
        {"train": batch, "gate": own},
        runtime,
        parts=parts,
        answer=answer,
        primary=None,
        primary_loss=batch.mean(found.primary),
        scale=2.0,
    )
    return parts, step, batch, own, found


def test_step__of_parts__has_their_trained_weights_by_name(runtime):
    parts, step, batch, own, _ = make(runtime)
    assert set(step.shared) == {"backbone.0.weight", "backbone.1.weight", "backbone.1.bias"}
    assert set(step.heads) == {f"{name}.{kind}" for name in PARTS[1:] for kind in ("weight", "bias")}
    assert step.shared["backbone.0.weight"] is parts["backbone"][0].weight
    assert (step.progress, step.epoch, step.scale) == (0.5, 2, 2.0)
    assert (step.train, step.own) == (batch, own)


def test_losses_at__other_values__change_what_follows_from_them_and_leave_the_parts_alone(runtime):
    parts, step, batch, _, found = make(runtime)
    before = {name: value.clone() for name, value in nn.ModuleDict(parts).state_dict().items()}
    same = step.losses_at({}, batch)
    torch.testing.assert_close(same.weighed, found.weighed)
    moved = torch.ones_like(parts["other"].weight, requires_grad=True)
    other = step.losses_at({"other.weight": moved}, batch)
    torch.testing.assert_close(other.primary, same.primary)
    assert not torch.equal(other.weighed, same.weighed)
    (slope,) = torch.autograd.grad(other.weighed.sum(), moved)
    assert slope.any()
    after = nn.ModuleDict(parts).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
