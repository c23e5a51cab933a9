"""gradnorm: the weights against GradNorm's loss differentiated by autograd, step by step; what they tend to."""

import pytest
import torch
from torch import nn

from auxo.errors import ConfigError
from auxo.gates import GateStep
from auxo.types import Batch

SCALES = (1.0, 5.0, 0.2)


class Made:
    """Three regressions from two shared layers, on scales of their own."""

    def __init__(self, runtime):
        draws = torch.Generator().manual_seed(0)

        def normal(*shape):
            return torch.randn(*shape, generator=draws, dtype=torch.float64)

        self.runtime = runtime
        self.inputs, self.answers = normal(12, 5), normal(12, 3)
        self.shared = {
            "first": nn.Parameter(normal(5, 4)),
            "last": nn.Parameter(normal(4, 4)),
            "bias": nn.Parameter(normal(4)),
        }
        self.head = nn.Parameter(normal(4, 3))
        places = torch.arange(12)
        self.batch = Batch(torch.zeros(12, 3, 2, 2), {}, places)

    def losses(self):
        hidden = torch.tanh(self.inputs @ self.shared["first"]) @ self.shared["last"] + self.shared["bias"]
        return torch.tensor(SCALES, dtype=torch.float64) * (torch.tanh(hidden) @ self.head - self.answers).square()

    def ask(self, gate):
        step = GateStep(self.batch, self.runtime, shared=self.shared)
        return gate(self.losses(), torch.zeros(12, 4, dtype=torch.float64), step)

    def descend(self, loss):
        weights = [*self.shared.values(), self.head]
        with torch.no_grad():
            for value, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                value.sub_(0.05 * slope)


@pytest.mark.parametrize("where", ["last", "all"])
@pytest.mark.parametrize("alpha", [0.0, 1.5])
def test_gradnorm__weights__follow_the_papers_loss(build, runtime, where, alpha):
    made, gate = Made(runtime), build(name="gradnorm", alpha=alpha, lr=0.01, where=where)
    weights, first, told = torch.ones(3, dtype=torch.float64), None, []
    for _ in range(6):
        means = made.losses().mean(0)
        first = means.detach() if first is None else first
        result = made.ask(gate)
        torch.testing.assert_close(result.weights, weights / 3)
        torch.testing.assert_close(result.loss, (means * weights).sum() / 3)
        weights = weights.clone().requires_grad_()
        chosen = [made.shared["last"]] if where == "last" else [*made.shared.values()]
        norms = []
        for weight, mean in zip(weights, means, strict=True):
            slopes = torch.autograd.grad(weight * mean, chosen, create_graph=True)
            norms.append(torch.cat([slope.flatten() for slope in slopes]).norm())
        norms = torch.stack(norms)
        rates = means.detach() / first
        target = (norms.mean() * (rates / rates.mean()) ** alpha).detach()
        (slope,) = torch.autograd.grad((norms - target).abs().sum(), weights)
        weights = (weights - 0.01 * slope).detach().clamp_min(0)
        weights = 3 * weights / weights.sum()
        made.descend(result.loss)
        told.append(result.weights)
    assert (told[0] - told[-1]).abs().max() > 0.01


def test_gradnorm__with_alpha_zero_and_weights_that_stand__gives_all_tasks_like_norms(build, runtime):
    made, gate = Made(runtime), build(name="gradnorm", alpha=0.0, lr=0.002)
    for _ in range(1500):
        weights = made.ask(gate).weights
    step = GateStep(made.batch, runtime, shared={"last": made.shared["last"]})
    norms = step.gradients(made.losses()).norm(dim=1)
    assert weights.sum().item() == pytest.approx(1)
    torch.testing.assert_close(weights * norms, (weights * norms).mean().expand(3), rtol=0.1, atol=0)
    assert (norms.max() / norms.min()) > 3


def test_gradnorm__rate_that_would_lead_below_zero__leaves_no_weight_negative(build, runtime):
    made, gate = Made(runtime), build(name="gradnorm", lr=100.0)
    for _ in range(4):
        weights = made.ask(gate).weights
        assert (weights >= 0).all()
        assert weights.sum().item() == pytest.approx(1)
    assert (weights == 0).any()


def test_gradnorm__tasks_without_a_gradient__leave_the_weights(build, runtime):
    made, gate = Made(runtime), build(name="gradnorm")
    made.losses = lambda: torch.zeros(12, 3, dtype=torch.float64, requires_grad=True) * 1.0
    for _ in range(3):
        assert made.ask(gate).weights.tolist() == pytest.approx([1 / 3] * 3)


def test_gradnorm__shared_weights_unknown__is_refused(build, tasks, runtime):
    with pytest.raises(ConfigError, match="which weights its losses share"):
        build(name="gradnorm")(tasks.losses, tasks.features, GateStep(tasks.batch, runtime))
