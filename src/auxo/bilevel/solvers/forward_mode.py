"""Differentiate one inner step by a forward pass of tangents."""

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch.autograd import forward_ad

from auxo.bilevel.inner_optimizers import SGD
from auxo.bilevel.instance import Instance
from auxo.bilevel.linear.interface import require_at_least
from auxo.bilevel.losses import WeightedLoss
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.bilevel.trajectory import Trajectory
from auxo.errors import HypergradientError


@dataclass(frozen=True, kw_only=True)
class ForwardMode(AbstractSolver):
    r"""Take one gradient step, and its exact derivative without differentiating twice.

    For an inner loss of class :class:`auxo.bilevel.WeightedLoss`, with ``w' = w - rate * grad_w G(w, h)`` and
    ``v = grad_w F(w', h)``,

    .. math:: \frac{dF}{dh} = \partial_h F - \frac{\text{rate}}{n} \frac{d}{dh} \sum_i \langle q_i(h), \dot\ell_i
    \rangle,
       \qquad \dot\ell_i = \frac{d}{de} \ell_i(w + e v) \Big|_{e=0},

    so a weight grows where its loss falls along with the outer loss. Equal to :class:`Unrolled` with one step of plain
    gradient descent, to rounding.

    Source: the step is that of Liu, Davison, Johns, Self-Supervised Generalisation with Meta Auxiliary Learning,
    NeurIPS 2019 (https://arxiv.org/abs/1901.08933), who differentiate it twice. Ours: the same derivative read from
    right to left, by tangents.

    Cost: one inner gradient, one inner forward pass with tangents (about two forward passes), one backward pass through
    the weights. Memory: that of one gradient. Needs layers with forward-mode derivatives.

    Args:
        rate: of the inner step, above 0.
    """

    derivatives: ClassVar[Literal["first", "forward", "second"]] = "forward"

    rate: float = 0.1

    def __post_init__(self) -> None:
        require_at_least("rate", self.rate, 0)

    def solve(self, instance: Instance) -> SolverAnswer:
        """See :meth:`AbstractSolver.solve`."""
        loss = instance.problem.inner_loss
        if not isinstance(loss, WeightedLoss):
            raise HypergradientError(
                "an inner loss of class WeightedLoss for ForwardMode",
                type(loss).__name__,
                "give its losses and weights apart, or use Unrolled(steps=1)",
            )
        trajectory = Trajectory(instance.single_step(type(self).__name__), SGD(rate=self.rate))
        point = trajectory.begin(instance.params)
        moved = trajectory.advance(point, 0)
        outer = instance.outer_gradient(moved.params, moved.buffers)
        tangents = outer.in_params
        with torch.no_grad(), forward_ad.dual_level(), warnings.catch_warnings():
            # torch's own forward-mode formulas go through torch.jit.script, which it warns of itself.
            warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
            duals = {name: forward_ad.make_dual(value, tangents[name]) for name, value in instance.params.items()}
            losses, _ = loss.losses(duals, instance.buffers, instance.inner[0])
            slopes = forward_ad.unpack_dual(losses).tangent
            if slopes is None:
                slopes = torch.zeros_like(losses)
        weights = loss.weights(instance.hyper, instance.inner[0])
        hyper = instance.hyper
        through: tuple[torch.Tensor | None, ...] = (None,) * len(hyper)
        if weights.requires_grad:
            pairing = (weights * slopes).sum() * (-self.rate / len(slopes))
            through = torch.autograd.grad(pairing, [*hyper.values()], allow_unused=True)
        info = SolverInfo(
            is_finite=torch.isfinite(outer.loss), iterations=1, inner_gradients=2, inner_slope=moved.slope
        )
        indirect = instance.average_present(dict(zip(hyper, through, strict=True)))
        return SolverAnswer(outer.in_hyper, indirect, outer.loss, moved.params, moved.buffers, info, {})
