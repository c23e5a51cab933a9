"""A regression with a learnt weight for each sample, and a setting of every solver that fits it."""

import torch

from auxo.bilevel import (
    MINRES,
    SGD,
    Adam,
    BilevelProblem,
    ConjugateGradient,
    FiniteDifference,
    ForwardMode,
    Implicit,
    Momentum,
    Neumann,
    Nystrom,
    Unrolled,
    WeightedLoss,
    hypergradient,
)

SIZE = 4
NYSTROM = Implicit(linear=Nystrom(rank=4, damping=20.0))
SOLVERS = [
    Implicit(linear=ConjugateGradient(iterations=3)),
    Implicit(linear=MINRES(iterations=3)),
    Implicit(linear=Neumann(terms=3, scale=0.05)),
    NYSTROM,
    Unrolled(steps=3, optimizer=SGD(rate=0.2)),
    Unrolled(steps=5, optimizer=Momentum(rate=0.1), truncate=3, checkpointing=True),
    Unrolled(steps=2, optimizer=Adam(rate=0.1)),
    FiniteDifference(rate=0.2),
    ForwardMode(rate=0.2),
]
IDS = [f"{type(s).__name__}-{type(getattr(s, 'linear', None)).__name__}" for s in SOLVERS]


def data(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(8, SIZE, generator=generator, dtype=torch.float64), torch.randn(
        8, generator=generator, dtype=torch.float64
    )


def squared(params, batch):
    return (batch[0] @ (params["a"] * params["b"]) - batch[1]).square()


def problem(outer, weights=lambda hyper, batch: hyper["logits"].sigmoid(), **options):
    loss = WeightedLoss(
        losses=lambda params, buffers, batch: (squared(params, batch), buffers),
        weights=weights,
        rest=lambda params, buffers, batch: params["a"].square().sum() + params["b"].square().sum(),
    )
    return BilevelProblem(inner_loss=loss, outer_loss=outer, **options)


def mean_squared(params, hyper, buffers, batch):
    return squared(params, batch).mean(), buffers


def solve(chosen, solver, hyper=None, **options):
    params = {"a": torch.linspace(0.5, 1, SIZE, dtype=torch.float64), "b": torch.ones(SIZE, dtype=torch.float64)}
    hyper = hyper or {"logits": torch.linspace(-1, 1, 8, dtype=torch.float64)}
    return hypergradient(chosen, params, hyper, inner=[data(0)], outer=data(1), solver=solver, **options)
