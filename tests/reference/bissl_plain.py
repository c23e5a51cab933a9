"""BiSSL's alternation in plain PyTorch, written from a description of the method; nothing of auxo is used here.

Two copies of a backbone, ``theta_P`` (pretext) and ``theta_D`` (downstream), with a head each, ``phi_P`` and ``phi_D``:

    upper  min over theta_D, phi_D of  L_D(theta_P*, phi_D) + gamma L_D(theta_D, phi_D)
    lower  theta_P* = argmin of min over phi_P of  L_P(theta_P, phi_P) + lambda / 2 ||theta_P - theta_D||^2

With ``H`` the Hessian of ``L_P`` in theta_P, phi_P held fixed, the derivative of theta_P* in theta_D is the symmetric
``J = inv(I + H / lambda)``: a solve with ``A = I + H / (lambda + delta)``, where delta damps the solve alone. Every
product with ``H`` makes the forward pass and the gradient anew, as the published code does.

Source: Zakarias, Hansen, Tan, BiSSL (https://arxiv.org/abs/2410.02387) and the code released with it
(https://github.com/NIPS25-16372/NIPS25_16372_BiSSL).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Tensors = Sequence[Tensor]
Product = Callable[[Tensors], Tensors]
_TINY = 1e-12


class Views(NamedTuple):
    """Two augmentations of the same images, shape ``(batch, channels, height, width)`` each."""

    first: Tensor
    second: Tensor


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of two views, the mean over all ``2 n`` rows."""
    rows = functional.normalize(torch.cat([z1, z2]), dim=1)
    count = len(z1)
    similarities = rows @ rows.T / temperature
    similarities = similarities.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=rows.device), -torch.inf)
    partners = torch.arange(2 * count, device=rows.device).roll(count)
    return functional.cross_entropy(similarities, partners)


def projector(features: int, width: int, outputs: int) -> nn.Sequential:
    """Return the head of the pretext: two hidden layers with batch norm and ReLU, the last one without a bias."""
    hidden = []
    for inputs in (features, width):
        hidden += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(width, outputs, bias=False))


def simclr_loss(backbone: nn.Module, head: nn.Module, views: Views, temperature: float = 0.5) -> Tensor:
    """Return SimCLR's loss; each view goes through the network alone, so batch norm sees one at a time."""
    return nt_xent(head(backbone(views.first)), head(backbone(views.second)), temperature)


@dataclass
class Levels:
    """The two networks; backbones map images to vectors."""

    pretext_backbone: nn.Module
    pretext_head: nn.Module
    downstream_backbone: nn.Module
    downstream_head: nn.Module

    def lower_parameters(self) -> list[Tensor]:
        return [*self.pretext_backbone.parameters(), *self.pretext_head.parameters()]

    def upper_parameters(self) -> list[Tensor]:
        return [*self.downstream_backbone.parameters(), *self.downstream_head.parameters()]


@dataclass(frozen=True)
class Options:
    """What an alternation depends on.

    ``moves_statistics`` lets theta_P's (and phi_P's) running statistics absorb what passes through them in the upper
    steps, as the release does; otherwise they are put back. ``tolerance`` and ``stops_at_negative`` are of the global
    solver: where to leave off, and whether a direction of negative curvature ends it.
    """

    strength: float = 0.001
    damping: float = 10.0
    direct_weight: float = 1.0
    iterations: int = 5
    solver: Literal["global", "layerwise", "identity"] = "global"
    clip_norm: float = 10.0
    moves_statistics: bool = False
    tolerance: float = 0.0
    stops_at_negative: bool = True
    pretext_loss: Callable[[nn.Module, nn.Module, Views], Tensor] = simclr_loss


@dataclass
class SGD:
    """Stochastic gradient descent with momentum, written out; ``lr`` may be a function of the steps taken so far."""

    parameters: list[Tensor]
    lr: float | Callable[[int], float]
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        self.buffers: list[Tensor] = []
        self.count = 0

    @torch.no_grad()
    def step(self, gradients: Tensors) -> None:
        """Move the parameters against their gradients."""
        slopes = [self.slope(p, g) for p, g in zip(self.parameters, gradients, strict=True)]
        if not self.buffers:
            self.buffers = [torch.zeros_like(slope) for slope in slopes]
        lr = self.lr(self.count) if callable(self.lr) else self.lr
        for parameter, slope, buffer in zip(self.parameters, slopes, self.buffers, strict=True):
            buffer.copy_(self.momentum * buffer + slope)
            parameter -= lr * (slope + self.momentum * buffer if self.nesterov else buffer)
        self.count += 1

    def slope(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """Return what enters the momentum."""
        return gradient + self.weight_decay * parameter


@dataclass
class LARS(SGD):
    """SGD whose slope is rescaled tensor by tensor to ``eta`` times the parameter's length; none is left out."""

    eta: float = 0.001

    def slope(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        """Return what enters the momentum."""
        slope = super().slope(parameter, gradient)
        size, length = parameter.norm(), slope.norm()
        return slope * (self.eta * size / length) if size > 0 and length > 0 else slope


def clip(gradients: Tensors, limit: float) -> list[Tensor]:
    """Return the gradients, shortened together where their common length exceeds the limit."""
    length = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    factor = torch.clamp(limit / (length + 1e-6), max=1.0)
    return [gradient * factor for gradient in gradients]


@contextmanager
def running_statistics(*modules: nn.Module, moved: bool) -> Iterator[None]:
    """Put the modules' buffers back afterwards, unless they may be moved."""
    buffers = [] if moved else [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)


def distance_term(levels: Levels, strength: float) -> Tensor:
    """Return ``lambda / 2 ||theta_P - theta_D||^2`` over the backbones' parameters; theta_D is a constant."""
    pairs = zip(levels.pretext_backbone.parameters(), levels.downstream_backbone.parameters(), strict=True)
    return strength / 2 * torch.stack([(ours - theirs.detach()).square().sum() for ours, theirs in pairs]).sum()


class LowerStep(NamedTuple):
    """What a lower step computed; gradients before clipping."""

    pretext_loss: Tensor
    gradients: list[Tensor]


def lower_step(levels: Levels, optimizer: SGD, views: Views, options: Options) -> LowerStep:
    """Train theta_P and phi_P on a batch."""
    pretext_loss = options.pretext_loss(levels.pretext_backbone, levels.pretext_head, views)
    total = pretext_loss + distance_term(levels, options.strength)
    gradients = list(torch.autograd.grad(total, levels.lower_parameters()))
    optimizer.step(clip(gradients, options.clip_norm))
    return LowerStep(pretext_loss.detach(), gradients)


def _dot(left: Tensors, right: Tensors) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()


def hessian_vector_product_rebuilt(levels: Levels, views: Views, vector: Tensors, options: Options) -> list[Tensor]:
    """Return ``H`` times a vector, from a forward pass and a gradient made for this product alone."""
    parameters = list(levels.pretext_backbone.parameters())
    with running_statistics(levels.pretext_backbone, levels.pretext_head, moved=options.moves_statistics):
        loss = options.pretext_loss(levels.pretext_backbone, levels.pretext_head, views)
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        return list(torch.autograd.grad(_dot(gradients, vector), parameters))


def _system(hvp: Product, direction: Tensors, scale: float) -> list[Tensor]:
    """Return ``(I + H / scale)`` times the direction."""
    return [part + image / scale for part, image in zip(direction, hvp(direction), strict=True)]


def conjugate_gradient_global(
    hvp: Product,
    v: Tensors,
    lam: float,
    delta: float,
    iterations: int,
    *,
    tolerance: float = 0.0,
    stops_at_negative: bool = True,
) -> list[Tensor]:
    """Return the last iterate of ``(I + H / (lam + delta)) z = v`` from zero.

    A direction without positive curvature ends it with what there is, ``v`` itself at the first iteration. The release
    adds 1e-12 to both denominators, as below; here a residual of zero ends the iterations instead.
    """
    solution = [torch.zeros_like(part) for part in v]
    residual, direction = list(v), list(v)
    square = total = _dot(residual, residual)
    for iteration in range(iterations):
        if square.sqrt() <= tolerance * total.sqrt():
            break
        image = _system(hvp, direction, lam + delta)
        bend = _dot(direction, image)
        if stops_at_negative and bend <= 0:
            return solution if iteration else list(v)
        alpha = square / bend
        solution = [s + alpha * d for s, d in zip(solution, direction, strict=True)]
        residual = [r - alpha * i for r, i in zip(residual, image, strict=True)]
        previous, square = square, _dot(residual, residual)
        direction = [r + square / previous * d for r, d in zip(residual, direction, strict=True)]
    return solution


def conjugate_gradient_layerwise(hvp: Product, v: Tensors, lam: float, delta: float, iterations: int) -> list[Tensor]:
    """Return what the release returns: step lengths of each tensor's own around products of the coupled system.

    This solves no common system unless ``A`` is block diagonal; curvature's sign is not looked at.
    """
    solution = [torch.zeros_like(part) for part in v]
    residual, direction = list(v), list(v)
    for _ in range(iterations):
        image = _system(hvp, direction, lam + delta)
        for j in range(len(v)):
            square = (residual[j] * residual[j]).sum()
            alpha = square / ((direction[j] * image[j]).sum() + _TINY)
            solution[j] = solution[j] + alpha * direction[j]
            residual[j] = residual[j] - alpha * image[j]
            beta = (residual[j] * residual[j]).sum() / (square + _TINY)
            direction[j] = residual[j] + beta * direction[j]
    return [torch.nan_to_num(part) for part in solution]


class UpperStep(NamedTuple):
    """What an upper step computed; gradients of theta_D and phi_D before clipping."""

    lower_loss: Tensor
    direct_loss: Tensor
    v: list[Tensor]
    z: list[Tensor]
    gradients: list[Tensor]


def _solve(levels: Levels, curvature_views: Views, v: list[Tensor], options: Options) -> list[Tensor]:
    """Return ``z``."""

    def hvp(vector: Tensors) -> Tensors:
        return hessian_vector_product_rebuilt(levels, curvature_views, vector, options)

    system = (hvp, v, options.strength, options.damping, options.iterations)
    if options.solver == "identity":
        return v
    if options.solver == "layerwise":
        return conjugate_gradient_layerwise(*system)
    stops = {"tolerance": options.tolerance, "stops_at_negative": options.stops_at_negative}
    return conjugate_gradient_global(*system, **stops)


def upper_step(
    levels: Levels, optimizer: SGD, curvature_views: Views, images: Tensor, labels: Tensor, options: Options
) -> UpperStep:
    """Train theta_D and phi_D on a batch; theta_P and phi_P keep their parameters."""
    pretext, downstream, head = levels.pretext_backbone, levels.downstream_backbone, levels.downstream_head
    with running_statistics(pretext, moved=options.moves_statistics):
        lower_loss = functional.cross_entropy(head(pretext(images)), labels)
        slopes = torch.autograd.grad(lower_loss, [*pretext.parameters(), *head.parameters()])
    count = len(list(pretext.parameters()))
    v, head_lower = list(slopes[:count]), slopes[count:]
    z = _solve(levels, curvature_views, v, options)

    direct_loss = functional.cross_entropy(head(downstream(images)), labels)
    direct = torch.autograd.grad(direct_loss, levels.upper_parameters())
    pairs = zip([*z, *head_lower], direct, strict=True)
    gradients = [through + options.direct_weight * own for through, own in pairs]
    optimizer.step(clip(gradients, options.clip_norm))
    return UpperStep(lower_loss.detach(), direct_loss.detach(), v, z, gradients)


def alternation(
    levels: Levels,
    lower: SGD,
    upper: SGD,
    lower_batches: Sequence[Views],
    curvature_views: Views,
    upper_batches: Sequence[tuple[Tensor, Tensor]],
    options: Options,
) -> tuple[list[LowerStep], list[UpperStep]]:
    """Take a lower step on each of the first batches, then an upper step on each of the others, with one batch for H.

    The optimisers keep their state from one alternation to the next.
    """
    lower_steps = [lower_step(levels, lower, views, options) for views in lower_batches]
    upper_steps = [upper_step(levels, upper, curvature_views, *batch, options) for batch in upper_batches]
    return lower_steps, upper_steps


def exact_lower_solution(hessian: Tensor, linear: Tensor, theta_d: Tensor, strength: float) -> Tensor:
    """Return the minimum of ``x'Hx / 2 - linear'x + lambda / 2 ||x - theta_d||^2``."""
    return torch.linalg.solve(hessian + strength * torch.eye(len(hessian)).to(hessian), linear + strength * theta_d)


def exact_derivative(hessian: Tensor, strength: float) -> Tensor:
    """Return ``J``, the derivative of the lower solution in theta_D; with a damped strength, what the solver uses."""
    return torch.linalg.inv(torch.eye(len(hessian)).to(hessian) + hessian / strength)


def schur_complement(hessian: Tensor, size: int) -> Tensor:
    """Return the Hessian in the first variables when the others follow them to their minimum."""
    own, mixed, rest = hessian[:size, :size], hessian[:size, size:], hessian[size:, size:]
    return own - mixed @ torch.linalg.solve(rest, mixed.T)


def finite_differences(function: Callable[[Tensor], Tensor], point: Tensor, step: float) -> Tensor:
    """Return central differences of a function, one row for each entry of the vector ``point``."""
    moves = step * torch.eye(len(point)).to(point)
    return torch.stack([(function(point + move) - function(point - move)) / (2 * step) for move in moves])
