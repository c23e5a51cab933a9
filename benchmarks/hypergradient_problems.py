"""The two-level problems of the hypergradient benchmark, on torch alone: every library's environment imports this file.

Inner loss, over the inner batch with weights ``w``, per-sample logits ``h`` and log weight decay ``d``::

    mean_i sigmoid(h_i) CE_i(w) + exp(d) / 2 ||w||^2

Outer loss: the cross-entropy of another batch. The hypergradient is that of the outer loss in ``h`` and ``d``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "DAMPING",
    "RATE",
    "SCALE",
    "Batch",
    "Task",
    "Workload",
    "inner_loss",
    "load_workload",
    "outer_loss",
    "proximal",
    "save_workload",
]

_CLASSES = 10
_LABEL_NOISE = 0.25
_TRAINING_STEPS = 30

DAMPING = 1.0
"""Added to the inner Hessian's diagonal in every implicit system."""
SCALE = 0.1
"""Of the Neumann series."""
RATE = 0.1
"""Of the unrolled step."""


class Batch(NamedTuple):
    """Images of shape ``(batch, channels, height, width)`` and their classes, shape ``(batch,)``."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Task:
    """How the hypergradient is computed.

    Args:
        kind: by conjugate gradients, by a Neumann series or through one step of SGD.
        count: products with the Hessian of ``"cg"``; terms of ``"neumann"``; 1 for ``"unrolled"``.
    """

    kind: Literal["cg", "neumann", "unrolled"]
    count: int

    @property
    def title(self) -> str:
        """What tables call it."""
        return {"cg": f"CG, {self.count}", "neumann": f"Neumann, {self.count}", "unrolled": "one SGD step"}[self.kind]


@dataclass(frozen=True)
class Workload:
    """A network in training mode with the batches and hyper-parameters that every library gets alike.

    Args:
        module: its parameters are the inner ones.
        inner: the inner batch.
        outer: the outer batch.
        logits: ``h``, shape ``(batch,)``; requires gradient.
        log_decay: ``d``, scalar; requires gradient.
    """

    module: nn.Module
    inner: Batch
    outer: Batch
    logits: Tensor
    log_decay: Tensor


def inner_loss(outputs: Tensor, labels: Tensor, weights: Iterable[Tensor], logits: Tensor, log_decay: Tensor) -> Tensor:
    """Return the inner loss; scalar."""
    losses = functional.cross_entropy(outputs, labels, reduction="none")
    squares = torch.stack([weight.square().sum() for weight in weights])
    return (logits.sigmoid() * losses).mean() + 0.5 * log_decay.exp() * squares.sum()


def outer_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the outer loss; scalar."""
    return functional.cross_entropy(outputs, labels)


def proximal(weights: Iterable[Tensor], anchors: Iterable[Tensor]) -> Tensor:
    """Return the term that adds :data:`DAMPING` to the Hessian and, at the anchors, nothing to the gradient."""
    squares = [(weight - anchor).square().sum() for weight, anchor in zip(weights, anchors, strict=True)]
    return 0.5 * DAMPING * torch.stack(squares).sum()


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation, and the shortcut without parameters."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.stride, self.added = stride, channels - channels_in

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(self.norm1(self.conv1(maps)).relu()))
        short = maps[:, :, :: self.stride, :: self.stride]
        added: Tensor = inner + functional.pad(short, (0, 0, 0, 0, self.added // 2, self.added // 2))
        return added.relu()


def _resnet20() -> nn.Module:
    """Return the ResNet-20 of He et al. for CIFAR, shortcuts of option A (https://arxiv.org/abs/1512.03385)."""
    widths = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
    blocks = [_ResidualBlock(before, after, stride=1 if before == after else 2) for before, after in pairwise(widths)]
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, _CLASSES))


class _EncoderLayer(nn.Module):
    """A pre-norm encoder layer whose attention is written out, so that it has second derivatives."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project_in, self.project_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        projected = self.project_in(self.norm1(tokens)).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5).softmax(-1)
        tokens = tokens + self.project_out((weights @ value).transpose(1, 2).reshape(batch, count, width))
        update: Tensor = self.contract(functional.gelu(self.expand(self.norm2(tokens))))
        return tokens + update


class _Transformer(nn.Module):
    """An encoder of 64 patches of 4x4 pixels, averaged before the last layer."""

    def __init__(self, width: int = 128, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(48, width)
        self.position = nn.Parameter(0.02 * torch.randn(64, width))
        self.layers = nn.Sequential(*(_EncoderLayer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, _CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        patches = functional.unfold(images, 4, stride=4).transpose(1, 2)
        tokens = self.layers(self.embed(patches) + self.position)
        outputs: Tensor = self.classify(self.norm(tokens).mean(1))
        return outputs


def _mlp() -> nn.Module:
    """Return a perceptron with two hidden layers."""
    layers = [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, _CLASSES)]
    return nn.Sequential(nn.Flatten(), *layers)


_Recipe = tuple[Callable[[], nn.Module], tuple[int, int, int], int]
_RECIPES: dict[str, _Recipe] = {
    "resnet20": (_resnet20, (3, 32, 32), 32),
    "transformer": (_Transformer, (3, 32, 32), 32),
    "mlp": (_mlp, (1, 28, 28), 64),
}


def save_workload(name: str, path: Path, *, batch_size: int = 0) -> None:
    """Make a problem, train its network for a few steps on the inner batch, and write weights and batches to a file.

    The images are class means with noise, and a quarter of the inner labels is wrong.

    Args:
        name: "resnet20", "transformer" or "mlp".
        path: where to.
        batch_size: of both batches; 0 takes the problem's own.
    """
    build, shape, default_size = _RECIPES[name]
    size = batch_size or default_size
    torch.manual_seed(0)
    module = build().train()
    means = torch.randn(_CLASSES, *shape)
    batches = []
    for noise in (_LABEL_NOISE, 0.0):
        labels = torch.randint(_CLASSES, (size,))
        images = 0.5 * means[labels] + torch.randn(size, *shape)
        batches.append(Batch(images, torch.where(torch.rand(size) < noise, (labels + 1) % _CLASSES, labels)))
    workload = Workload(module, batches[0], batches[1], torch.randn(size), torch.tensor(-6.0))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    for _ in range(_TRAINING_STEPS):
        loss = inner_loss(
            module(workload.inner.images),
            workload.inner.labels,
            module.parameters(),
            workload.logits,
            workload.log_decay,
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tensors = {"logits": workload.logits, "log_decay": workload.log_decay}
    for level, batch in zip(("inner", "outer"), batches, strict=True):
        tensors |= {f"{level}_images": batch.images, f"{level}_labels": batch.labels}
    torch.save({"name": name, "state": module.state_dict(), "tensors": tensors}, path)


def load_workload(path: Path, dtype: torch.dtype = torch.float32) -> Workload:
    """Return the problem that :func:`save_workload` wrote, with weights, images and hyper-parameters in ``dtype``."""
    content = torch.load(path, weights_only=True)
    module = _RECIPES[content["name"]][0]()
    module.load_state_dict(content["state"])
    tensors = content["tensors"]
    inner, outer = (
        Batch(tensors[f"{level}_images"].to(dtype), tensors[f"{level}_labels"]) for level in ("inner", "outer")
    )
    hyper = [tensors[name].to(dtype).requires_grad_() for name in ("logits", "log_decay")]
    return Workload(module.to(dtype).train(), inner, outer, hyper[0], hyper[1])
