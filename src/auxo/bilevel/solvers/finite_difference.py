"""Differentiate one inner step by a difference of two inner gradients."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from auxo.bilevel.inner_optimizers import SGD
from auxo.bilevel.instance import Instance, leaves, scaled_difference
from auxo.bilevel.linear.interface import require_at_least
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.bilevel.trajectory import Trajectory
from auxo.bilevel.vectors import joint_norm, shift
from auxo.errors import ConfigError

_EPSILONS = {torch.float64: 1e-7}


@dataclass(frozen=True, kw_only=True)
class FiniteDifference(AbstractSolver):
    r"""Take one gradient step, and its derivative from first derivatives alone.

    With ``w' = w - rate * grad_w G(w, h)`` and ``v = grad_w F(w', h)``,

    .. math:: \frac{dF}{dh} \approx \partial_h F - \text{rate} \,
       \frac{\partial_h G(w + e v, h) - \partial_h G(w - e v, h)}{2 e},
       \qquad e = \frac{\text{epsilon} \max(\|w\|, 1)}{\|v\|} .

    The difference is central, so on a smooth network its error falls with the square of ``epsilon`` until rounding
    takes over. With kinks (ReLU, pooling) it falls with the number of kinks that the displacement crosses, so that the
    best ``epsilon`` is far smaller; the default was chosen by a curve over such networks, see the documentation's page.
    Works with layers that have no second derivative.

    Source: Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019, Eq. 8
    (https://arxiv.org/abs/1806.09055), where the displacement has the absolute length 0.01.

    Cost: three inner gradients. Memory: that of one.

    Args:
        rate: of the inner step, above 0.
        epsilon: length of the displacement relative to the inner parameters (to 1 if those are shorter); ``None`` takes
            3e-5, and 1e-7 in float64.
    """

    derivatives: ClassVar[Literal["first", "forward", "second"]] = "first"

    rate: float = 0.1
    epsilon: float | None = None

    def __post_init__(self) -> None:
        require_at_least("rate", self.rate, 0)
        if self.epsilon is not None and not self.epsilon > 0:
            raise ConfigError("epsilon > 0 or None", str(self.epsilon), "leave it out for the dtype's own")

    def solve(self, instance: Instance) -> SolverAnswer:
        """See :meth:`AbstractSolver.solve`."""
        trajectory = Trajectory(instance.single_step(type(self).__name__), SGD(rate=self.rate))
        point = trajectory.begin(instance.params)
        moved = trajectory.advance(point, 0)
        outer = instance.outer_gradient(moved.params, moved.buffers)
        norm = joint_norm(outer.in_params.values())
        epsilon = self.epsilon or _EPSILONS.get(norm.dtype, 3e-5)
        size = joint_norm(point.params.values())
        length = epsilon * size.clamp(min=1.0) / torch.where(norm > 0, norm, 1.0)
        forth, _ = instance.inner_gradient_in_hyper(leaves(shift(point.params, length, outer.in_params)))
        back, _ = instance.inner_gradient_in_hyper(leaves(shift(point.params, -length, outer.in_params)))
        indirect = scaled_difference(-self.rate / (2 * length), forth, back)
        info = SolverInfo(
            is_finite=torch.isfinite(outer.loss), iterations=1, inner_gradients=3, inner_slope=moved.slope
        )
        return SolverAnswer(outer.in_hyper, indirect, outer.loss, moved.params, moved.buffers, info, {})
