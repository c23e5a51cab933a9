"""Computes hypergradients by every solver on a share of the batches; one of the environment's processes."""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from auxo.bilevel import (
    MINRES,
    SGD,
    Adam,
    BilevelProblem,
    CompositeLoss,
    ConjugateGradient,
    ExactHead,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    FunctionalModule,
    Implicit,
    LayerwiseConjugateGradient,
    LinearHeadLoss,
    Momentum,
    Neumann,
    Nystrom,
    Penalty,
    Unrolled,
    WeightedLoss,
    hypergradient,
)
from auxo.runtime import RuntimeConfig, open_runtime

SOLVERS = {
    "cg": Implicit(linear=ConjugateGradient(iterations=8, damping=0.5)),
    "layerwise": Implicit(linear=LayerwiseConjugateGradient(iterations=4, damping=0.5)),
    "minres": Implicit(linear=MINRES(iterations=8, damping=0.5)),
    "neumann": Implicit(linear=Neumann(terms=8, damping=0.5)),
    "nystrom": Implicit(linear=Nystrom(rank=6, damping=0.5)),
    "gauss_newton": Implicit(linear=ConjugateGradient(iterations=8, damping=0.5), curvature="gauss_newton"),
    "unrolled": Unrolled(steps=3, optimizer=SGD(rate=0.1)),
    "unrolled_momentum": Unrolled(steps=4, optimizer=Momentum(rate=0.05), checkpointing=True),
    "unrolled_adam": Unrolled(steps=3, optimizer=Adam(rate="rate"), truncate=2),
    "finite_difference": FiniteDifference(rate=0.1, epsilon=1e-4),
    "forward_mode": ForwardMode(rate=0.1),
    "penalty": Penalty(weight=10.0, steps=4, optimizer=SGD(rate=0.1)),
    "first_order": FirstOrder(steps=3, optimizer=SGD(rate=0.1)),
    "exact_head": ExactHead(newton_steps=6, iterations=30),
    "exact_ridge": ExactHead(),
}


def network(batch_norm):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)]
    return nn.Sequential(*layers[:1], *([nn.BatchNorm2d(3)] if batch_norm else []), *layers[1:]).double().train()


def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, 4, 4, generator=generator, dtype=torch.float64)
    return images, torch.randint(3, (count,), generator=generator), torch.arange(count)


def build(name, net):
    """The problem of a solver, with its inner parameters and hyper-parameters."""

    def losses(params, buffers, batch):
        logits, buffers = net(params, buffers, batch[0])
        return F.cross_entropy(logits, batch[1], reduction="none"), buffers

    def weights(hyper, batch):
        return hyper["logits"][batch[2]].sigmoid()

    def penalty(params, hyper):
        return hyper["log_decay"].exp() * sum(value.square().sum() for value in params.values())

    def inner(params, hyper, buffers, batch):
        values, buffers = losses(params, buffers, batch)
        return (weights(hyper, batch) * values).mean() + penalty(params, hyper), buffers

    def outer(params, hyper, buffers, batch):
        values, buffers = losses(params, buffers, batch)
        return values.mean(), buffers

    hyper = {
        "logits": torch.linspace(-1, 1, 8, dtype=torch.float64),
        "log_decay": torch.tensor(-2.0, dtype=torch.float64),
        "rate": torch.tensor(0.01, dtype=torch.float64),
    }
    params = net.params
    frozen = frozenset({"rate", "log_decay"})
    if name == "gauss_newton":
        inner = CompositeLoss(
            outputs=lambda params, hyper, buffers, batch: net(params, buffers, batch[0]),
            criterion=lambda logits, hyper, batch: (
                weights(hyper, batch) * F.cross_entropy(logits, batch[1], reduction="none")
            ).mean(),
            penalty=penalty,
        )
    if name == "forward_mode":
        inner = WeightedLoss(losses=losses, weights=weights)
    initial = None
    if name == "first_order":
        initial, hyper, frozen = (lambda params, hyper: hyper), dict(params), frozenset()

        def inner(params, hyper, buffers, batch):
            return outer(params, hyper, buffers, batch)

    if name.startswith("exact"):
        hyper, params, frozen = dict(params), {"weight": torch.zeros(3, 4, dtype=torch.float64)}, frozenset()
        is_ridge = name == "exact_ridge"
        inner = LinearHeadLoss(
            features=lambda hyper, buffers, batch: net(hyper, buffers, batch[0]),
            targets=lambda batch: F.one_hot(batch[1], 3).double() if is_ridge else batch[1],
            criterion="least_squares" if is_ridge else "cross_entropy",
            weight_decay=0.1,
        )

        def outer(params, hyper, buffers, batch):
            features, buffers = net(hyper, buffers, batch[0])
            return F.cross_entropy(features @ params["weight"][:, :-1].T, batch[1]), buffers

    return BilevelProblem(inner_loss=inner, outer_loss=outer, initial=initial, frozen=frozen), params, hyper


def main(folder):
    torch.set_num_threads(1)
    with open_runtime(RuntimeConfig(device="cpu", channels_last=False)) as runtime:

        def share(batch):
            count = len(batch[0]) // runtime.num_processes
            return tuple(part[runtime.rank * count : (runtime.rank + 1) * count] for part in batch)

        for batch_norm in (False, True):
            module = network(batch_norm)
            runtime.prepare(module, networks=[module])
            net = FunctionalModule(module)
            for name, solver in SOLVERS.items():
                problem, params, hyper = build(name, net)
                result = hypergradient(
                    problem,
                    params,
                    hyper,
                    inner=[share(data(8, 1))],
                    outer=share(data(6, 2)),
                    buffers=net.buffers,
                    solver=solver,
                    mean=lambda vector: runtime.mean([vector])[0],
                )
                where = f"{name}-{batch_norm}-{runtime.rank}-of-{runtime.num_processes}.safetensors"
                tensors = {**result.grads, "outer loss": result.outer_loss}
                save_file({key: value.contiguous() for key, value in tensors.items()}, folder / where)
