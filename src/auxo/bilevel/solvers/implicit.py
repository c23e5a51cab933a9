"""Differentiate the inner solution by the implicit function theorem."""

from dataclasses import dataclass, field

import torch

from auxo.bilevel.instance import Instance
from auxo.bilevel.linear import AbstractLinearSolver, ConjugateGradient, Operator
from auxo.bilevel.products import Curvature, InnerGradient
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo


@dataclass(frozen=True, kw_only=True)
class Implicit(AbstractSolver):
    r"""Solve one linear system with the inner Hessian instead of differentiating through inner steps.

    .. math:: \frac{dF}{dh} = \partial_h F - (\partial_h \nabla_w G)^\top z, \qquad (\nabla^2_w G + d I)\, z = \nabla_w
    F .

    Exact where the inner parameters passed in are a stationary point of the inner loss and the linear system is solved;
    elsewhere the error is of the order of the inner gradient's norm. Memory does not depend on how many steps it took
    to get there. The graph of the inner gradient is built once and every product is taken from it. Damping ``d`` biases
    the answer towards a shorter one: a direction of curvature ``c`` loses the factor ``c / (c + d)``.

    Source: Bengio, Gradient-Based Optimization of Hyperparameters, Neural Computation 2000; Pedregosa, Hyperparameter
    Optimization with Approximate Gradient, ICML 2016 (https://arxiv.org/abs/1602.02355).

    Cost: one inner gradient with its graph, the linear solver's products (each about two inner gradients), one mixed
    product. Memory: that graph, and the linear solver's vectors of the size of the inner parameters.

    Args:
        linear: how the system is solved.
        curvature: ``"hessian"``, or ``"gauss_newton"`` in its place: never indefinite, equal to the Hessian where the
            network is linear or the outputs fit; needs an inner loss of class :class:`auxo.bilevel.CompositeLoss`.
    """

    linear: AbstractLinearSolver = field(default_factory=ConjugateGradient)
    curvature: Curvature = "hessian"

    def solve(self, instance: Instance) -> SolverAnswer:
        """See :meth:`AbstractSolver.solve`."""
        outer = instance.outer_gradient(instance.params, instance.buffers)
        inner = InnerGradient(instance, curvature=self.curvature)
        right_hand_side = inner.select(outer.in_params)
        answer = self.linear.solve(
            Operator(inner.product, inner.products, tuple(inner.layout.sizes)),
            right_hand_side,
            initial=inner.select(instance.warm_start) if instance.warm_start else None,
        )
        info = SolverInfo(
            is_finite=torch.isfinite(outer.loss),
            residual=answer.residual,
            tolerance=self.linear.tolerance,
            iterations=answer.iterations,
            hessian_products=answer.products,
            inner_gradients=1,
            inner_slope=inner.slope(),
            adjoint=inner.named(answer.solution),
            breakdown=answer.breakdown,
        )
        indirect = inner.mixed(-answer.solution)
        return SolverAnswer(outer.in_hyper, indirect, outer.loss, instance.params, instance.buffers, info, {})
