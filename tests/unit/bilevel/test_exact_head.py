"""The exact linear head against implicit differentiation at its optimum."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from auxo.bilevel import (
    MINRES,
    BilevelProblem,
    ExactHead,
    FunctionalModule,
    Implicit,
    LinearHeadLoss,
    hypergradient,
)
from auxo.errors import HypergradientError


def test_exact_head__cross_entropy__implicit_gradient_at_its_optimum():
    torch.manual_seed(0)
    net = FunctionalModule(nn.Sequential(nn.Linear(5, 3), nn.Tanh()).double())
    inputs, labels = torch.randn(12, 5, dtype=torch.float64), torch.randint(4, (12,))
    loss = LinearHeadLoss(
        features=lambda hyper, buffers, batch: net(hyper, buffers, batch[0]),
        targets=lambda batch: batch[1],
        weight_decay=0.05,
    )

    def outer(params, hyper, buffers, batch):
        features, buffers = net(hyper, buffers, batch[0])
        return F.cross_entropy(features @ params["weight"][:, :-1].T + params["weight"][:, -1], batch[1]), buffers

    chosen = BilevelProblem(inner_loss=loss, outer_loss=outer)
    arguments = {"inner": [(inputs, labels)], "outer": (inputs + 0.5, labels), "buffers": net.buffers}
    start = {"weight": torch.zeros(4, 4, dtype=torch.float64)}
    exact = hypergradient(chosen, start, net.params, **arguments, solver=ExactHead(tolerance=1e-8))
    assert exact.info.converged
    implicit = hypergradient(
        chosen, exact.params, net.params, **arguments, solver=Implicit(linear=MINRES(iterations=40))
    )
    for name, value in implicit.grads.items():
        torch.testing.assert_close(exact.grads[name], value, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("criterion", ["cross_entropy", "least_squares"])
@pytest.mark.parametrize("decay", [-0.1, 0.0, float("nan")])
def test_exact_head__decay_that_is_not_positive__refused(criterion, decay):
    inputs = torch.randn(6, 3, dtype=torch.float64)
    targets = torch.arange(6) % 2 if criterion == "cross_entropy" else torch.randn(6, 2, dtype=torch.float64)
    loss = LinearHeadLoss(
        features=lambda hyper, buffers, batch: (batch * hyper["scale"], buffers),
        targets=lambda batch: targets,
        criterion=criterion,
        weight_decay=lambda hyper: hyper["decay"],
    )
    chosen = BilevelProblem(inner_loss=loss, outer_loss=lambda params, *_: (params["weight"].square().sum(), {}))
    hyper = {"scale": torch.ones((), dtype=torch.float64), "decay": torch.tensor(decay, dtype=torch.float64)}
    start = {"weight": torch.zeros(2, 4, dtype=torch.float64)}
    with pytest.raises(HypergradientError, match="a weight decay above 0"):
        hypergradient(chosen, start, hyper, inner=[inputs], outer=inputs, solver=ExactHead())
