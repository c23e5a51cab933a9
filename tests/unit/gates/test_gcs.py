"""gcs: which gradients count, by hand on a shared vector; heads learn whatever the weights."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from auxo.errors import ConfigError
from auxo.gates import GateStep
from auxo.types import Batch

PRIMARY = [2.0, 0.0]
DIRECTIONS = ([3.0, 3.0], [-1.0, 5.0], [0.0, 1.0], [4.0, -4.0])
COSINES = (1 / math.sqrt(2), 0.0, 0.0, 1 / math.sqrt(2))  # the positive parts


class Made:
    """Losses that are linear in a shared vector, along given directions, each times a head of its own."""

    def __init__(self, runtime, directions=DIRECTIONS):
        self.shared = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
        self.heads = {f"head {k}": nn.Parameter(torch.ones((), dtype=torch.float64)) for k in range(len(directions))}
        scales = 1 + torch.linspace(-0.5, 0.5, 6, dtype=torch.float64)  # of the samples, with mean 1
        columns = [
            scales * (torch.tensor(way, dtype=torch.float64) @ self.shared) * head
            for way, head in zip(directions, self.heads.values(), strict=True)
        ]
        self.losses = torch.stack(columns, 1)
        places = torch.arange(6)
        self.step = GateStep(
            Batch(torch.zeros(6, 3, 2, 2), {}, places),
            runtime,
            primary_loss=torch.tensor(PRIMARY, dtype=torch.float64) @ self.shared,
            shared={"shared": self.shared},
            heads=self.heads,
        )

    def ask(self, gate, **changes):
        return gate(self.losses, torch.zeros(6, 2, dtype=torch.float64), replace(self.step, **changes))


@pytest.mark.parametrize("weighted", [False, True])
def test_gcs__four_tasks__those_that_agree_count(build, runtime, weighted):
    made = Made(runtime)
    result = made.ask(build(name="gcs", weighted=weighted))
    factors = [cosine if weighted else float(cosine > 0) for cosine in COSINES]
    assert result.weights.tolist() == pytest.approx([factor / 4 for factor in factors], abs=1e-15)
    (gradient,) = torch.autograd.grad(result.loss, made.shared, retain_graph=True)
    expected = [sum(f * way[k] for f, way in zip(factors, DIRECTIONS, strict=True)) / 4 for k in (0, 1)]
    assert gradient.tolist() == pytest.approx(expected)
    means = made.losses.mean(0).tolist()
    assert result.loss.item() == pytest.approx(sum(f * value for f, value in zip(factors, means, strict=True)) / 4)


@pytest.mark.parametrize("weighted", [False, True])
def test_gcs__heads_of_tasks_that_disagree__learn_from_their_whole_loss(build, runtime, weighted):
    made = Made(runtime)
    result = made.ask(build(name="gcs", weighted=weighted))
    gradients = torch.autograd.grad(result.loss, [*made.heads.values()])
    assert [gradient.item() for gradient in gradients] == pytest.approx([sum(way) / 4 for way in DIRECTIONS])


def test_gcs__primary_task_among_those_weighed__counts_in_full(build, runtime):
    made = Made(runtime, directions=(PRIMARY, [-1.0, 0.5], [1.0, 0.0]))
    for weighted in (False, True):
        result = made.ask(build(name="gcs", weighted=weighted), primary=0)
        assert result.weights.tolist() == pytest.approx([1 / 3, 0, 1 / 3])


def test_gcs__primary_loss_or_shared_weights_unknown__is_refused(build, runtime):
    made = Made(runtime)
    with pytest.raises(ConfigError, match="a method that says its primary loss"):
        made.ask(build(name="gcs"), primary_loss=None)
    with pytest.raises(ConfigError, match="which weights its losses share"):
        made.ask(build(name="gcs"), shared={})
