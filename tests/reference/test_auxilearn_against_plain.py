"""The hypergradient gate against AuxiLearn in plain torch, in float64, step by step."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from auxo.gates import GateStep, TaskLosses
from auxo.gates.combinations.linear import LinearCombination
from auxo.gates.combinations.nonlinear import NonlinearCombination
from auxo.gates.hypergradient import HypergradientGate
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

from . import auxilearn_plain as plain

RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
STEPS, WEIGHT_RATE = 9, 0.2
RELEASED = HypergradientGate.Config(
    every=2, terms=3, scale=0.1, released_factor=True, rule="sgd", lr=0.05, weight_decay=1e-4, clip=0.3
)
CASES = {
    "linear": (LinearCombination.Config(), plain.combine_linear),
    "linear with skip": (LinearCombination.Config(skip=True), partial(plain.combine_linear, skip=True)),
    "nonlinear": (NonlinearCombination.Config(hidden=(4, 3)), plain.combine_nonlinear),
}


def train(gate):
    """Train the plain net through the gate, and return its weights."""
    net = plain.Net()
    batches = zip(plain.draw_batches(STEPS, 12, seed=1), plain.draw_batches(STEPS, 8, seed=2), strict=True)
    shared = {"trunk": net.weights["trunk"]}
    heads = {name: value for name, value in net.weights.items() if name not in shared}
    for number, ((inputs, answers), (own_inputs, own_answers)) in enumerate(batches):
        shown = {len(own_inputs): (own_inputs, own_answers), len(inputs): (inputs, answers)}
        batch, own = (Batch(torch.zeros(count, 1, 1, 1), {}, torch.arange(count)) for count in (12, 8))

        def losses_at(weights, batch, shown=shown):
            losses = net.losses({**net.weights, **weights}, *shown[len(batch)])
            return TaskLosses(losses, losses[:, 0])

        # The release neither divides by the number of tasks nor multiplies the series by alpha.
        step = GateStep(
            batch,
            RUNTIME,
            primary=0,
            scale=3.0,
            shared=shared,
            heads=heads,
            train=batch,
            own=own,
            losses_at=losses_at,
            number=number,
        )
        losses = net.losses(net.weights, inputs, answers)
        loss = step.scale * gate(losses, inputs, step).loss
        slopes = torch.autograd.grad(loss, [*net.weights.values()])
        with torch.no_grad():
            for value, slope in zip(net.weights.values(), slopes, strict=True):
                value.sub_(WEIGHT_RATE * slope)
    return [*net.weights.values()]


@pytest.mark.parametrize("clip", [1e-3, 1e6], ids=["clipped", "free"])
@pytest.mark.parametrize("case", CASES)
def test_gate__alternating_with_training__is_auxilearn(case, clip):
    network, combine = CASES[case]
    config = replace(RELEASED, network=network, clip=clip)
    gate = config.build(num_features=6, num_outputs=(3, 4, 2), seed=3).double()
    first = [value.detach().clone() for value in gate.network.parameters()]
    weights, phi = plain.train(
        first,
        combine,
        steps=STEPS,
        every=config.every,
        terms=config.terms,
        alpha=config.scale,
        weight_rate=WEIGHT_RATE,
        rate=config.lr,
        momentum=config.momentum,
        decay=config.weight_decay,
        clip=clip,
    )
    found = train(gate)
    for ours, theirs in zip([*gate.network.parameters(), *found], [*phi, *weights], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    moved = max(
        (ours - start).detach().abs().max().item() for ours, start in zip(gate.network.parameters(), first, strict=True)
    )
    assert moved > 1e-5
