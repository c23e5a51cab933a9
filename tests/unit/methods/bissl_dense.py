"""BiSSL in float64 on a network so small that its Hessian is dense, and what plain autograd says of a step."""

from dataclasses import dataclass, field, replace

import torch
from torch import nn
from torch.autograd.functional import hessian

from auxo.interfaces import AbstractBackbone, TrainState
from auxo.layers.batch_norm import keep_running_statistics
from auxo.methods.bissl import BiSSL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import Pair, loss_in_backbone
from auxo.pretexts.simclr import SimCLR
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.solvers.conjugate_gradient import ConjugateGradientSolver
from auxo.tasks import Classification
from auxo.types import Batch, Features

TASK = Classification(class_names=("a", "b", "c"), channels=1, height=3, width=3)
HEADS = SimCLR.Config(hidden=5, outputs=4, num_layers=2)
SGD = OptimizerConfig(lr=0.05, nesterov=False, momentum=0.0, weight_decay=0.0, schedule="constant")
COMMON = BiSSL.Config(
    pretext=HEADS, optimizer=SGD, lower_optimizer=SGD, lower_steps=2, upper_steps=2, pretext_ratio=1,
    curvature_ratio=1, clip_norm=1e9,
)  # fmt: skip
SOLVER = ConjugateGradientSolver(damping=1000.0, iterations=40, tolerance=0.0)
BASE = replace(COMMON, solver=SOLVER)
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


class Smooth(AbstractBackbone):
    """Two layers without kinks, small enough for a dense Hessian."""

    def __init__(self):
        super().__init__()
        self.num_features = 4
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh())

    def forward(self, images):
        return Features(self.net(images), {})


@dataclass(frozen=True)
class Watch(Runtime):
    """Notes the gradients that an optimiser is given."""

    seen: list = field(default_factory=list)

    def apply(self, optimizer, gradients, *, max_norm=None):
        self.seen.append(list(gradients))
        super().apply(optimizer, gradients, max_norm=max_norm)


def make(config=BASE, *, seed=0, apart=0.02):
    """A method in float64 whose two backbones differ a little, and its state at the first upper step."""
    torch.manual_seed(seed)
    method = config.build(Networks(Smooth(), TASK, seed=seed)).double().train()
    for module in [*method.pretext.modules()]:
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):  # finite differences of a loss with kinks do not converge
                setattr(module, name, nn.Softplus())
    with torch.no_grad():
        for parameter in method.upper.backbone.parameters():
            parameter.add_(apart * torch.randn_like(parameter))
    state = TrainState(method.optimizers(), seed=seed, num_steps=100)
    state.step, state.kind = config.lower_steps, "upper"
    return method, state


def batches(config=BASE, *, seed=1, count=12):
    """One batch for every view."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return {
        name: Batch(
            torch.randn(count, 1, 3, 3, generator=generator, dtype=torch.float64),
            {"label": labels},
            torch.arange(count),
        )
        for name in config.required_views()
    }


def upper_only(shown):
    return {name: batch for name, batch in shown.items() if name not in ("first", "second")}


def lower_only(shown):
    return {name: shown[name] for name in ("first", "second")}


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def downstream_loss(method, backbone, batch):
    return nn.functional.cross_entropy(method.upper.semantic(backbone(batch.images).pooled), batch.labels)


def expected_parts(method, shown):
    """Return v, h1, g2, h2 by plain autograd, and the dense Hessian of the pretext's loss in the lower backbone."""
    train, lower = shown["train"], [*method.backbone.parameters()]
    head, upper = [*method.upper.semantic.parameters()], [*method.upper.backbone.parameters()]
    first = torch.autograd.grad(downstream_loss(method, method.backbone, train), [*lower, *head])
    second = torch.autograd.grad(downstream_loss(method, method.upper.backbone, train), [*upper, *head])
    pair = Pair(shown["curvature_first"].images, shown["curvature_second"].images)
    sizes = [p.numel() for p in lower]
    names = [name for name, _ in method.backbone.named_parameters()]
    value = loss_in_backbone(method.backbone, method.pretext, pair)

    def of_vector(vector):
        pieces = vector.split(sizes)
        return value({n: piece.view_as(p) for n, piece, p in zip(names, pieces, lower, strict=True)})

    with keep_running_statistics(method):
        dense = hessian(of_vector, flat(lower).detach())
    count = len(lower)
    return flat(first[:count]), first[count:], flat(second[:count]), second[count:], dense


def watched_step(method, state, shown):
    """Take a step; return the gradients that its optimiser is given, and the metrics."""
    watch = Watch(config=RUNTIME.config, device=RUNTIME.device)
    state.kind = "lower" if "first" in shown else "upper"
    metrics = method.update(state, shown, watch)
    (gradients,) = watch.seen
    return gradients, metrics
