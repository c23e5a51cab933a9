"""The inner gradient at one point, its graph built once, and every product with second derivatives taken from it."""

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.hessian import GradientGraph, Pull, multiply, multiply_together
from auxo.bilevel.instance import Instance, leaves
from auxo.bilevel.losses import CompositeLoss
from auxo.bilevel.problem import Params
from auxo.bilevel.vectors import Layout
from auxo.errors import HypergradientError

Curvature = Literal["hessian", "gauss_newton"]


class InnerGradient:
    """Products with the second derivatives of the mean inner loss at given inner parameters.

    Parameters that the inner loss does not reach, or reaches only linearly, do not move with the hyper-parameters: they
    are left out of every vector here (:attr:`layout`).

    Args:
        instance: the problem; its inner batches are averaged.
        curvature: which matrix the products are with: the Hessian, or the Gauss-Newton matrix (positive semi-definite),
            which needs an inner loss of class :class:`auxo.bilevel.CompositeLoss`.

    Raises:
        HypergradientError: the loss has no such products.
    """

    def __init__(self, instance: Instance, *, curvature: Curvature = "hessian") -> None:
        self._instance = instance
        params = leaves(instance.params)
        self._graph = GradientGraph(instance.mean_inner_loss(params), params, name="an inner loss")
        if not self._graph.gradients:
            raise HypergradientError(
                "an inner loss whose gradient depends on the inner parameters or hyper-parameters",
                "a gradient that is constant",
                "check that the loss is not linear in the parameters, and that hyper-parameters enter it",
            )
        self.layout = Layout(self._graph.params)
        is_hessian = curvature == "hessian"
        self._pull: Pull = self._graph.pull if is_hessian else _GaussNewton(instance, self._graph.params, params).pull

    def slope(self) -> Float[Tensor, ""]:
        """Return the norm of the inner gradient."""
        vector = self.layout.flatten({name: value.detach() for name, value in self._graph.gradients.items()})
        norm: Tensor = self._instance.mean(vector).norm()
        return norm

    def select(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, " size"]:
        """Return the named tensors as one vector; zeros for those that are missing."""
        own = self._graph.params.items()
        return self.layout.flatten({n: tensors[n] if n in tensors else torch.zeros_like(value) for n, value in own})

    def product(self, vector: Float[Tensor, " size"]) -> Float[Tensor, " size"]:
        """Return the matrix times a vector, averaged over the processes."""
        return multiply(self._pull, self.layout, self._instance.mean, vector)

    def products(self, vectors: Float[Tensor, "count size"]) -> Float[Tensor, "count size"]:
        """Return the matrix times several vectors, vectorised over them where every operation allows it."""
        return multiply_together(self._pull, self.layout, self._instance.mean, vectors)

    def mixed(self, vector: Float[Tensor, " size"]) -> dict[str, Tensor | None]:
        """Return the derivative in each hyper-parameter of the inner gradient's inner product with a vector.

        Frees the graph: take it last. ``None`` where a hyper-parameter does not enter the inner gradient.
        """
        hyper = self._instance.hyper
        weights = [*self.layout.split(vector).values()]
        attached = [*self._graph.gradients.values()]
        gradients = torch.autograd.grad(attached, [*hyper.values()], weights, allow_unused=True)
        return self._instance.average_present(dict(zip(hyper, gradients, strict=True)))

    def named(self, vector: Float[Tensor, " size"]) -> Params:
        """Return the vector as tensors by parameter name."""
        return self.layout.split(vector)


class _GaussNewton:
    r"""Products with ``J' H J``, the Jacobian of the outputs around the Hessian of the criterion, plus the penalty's.

    Three graphs are built once: of the outputs, of their pull-back of a dummy vector (whose derivative in the dummy is
    ``J``), and of the criterion's gradient in the outputs.
    """

    def __init__(self, instance: Instance, selected: Params, params: Params) -> None:
        loss = instance.problem.inner_loss
        if not isinstance(loss, CompositeLoss):
            raise HypergradientError(
                "an inner loss of class CompositeLoss for curvature='gauss_newton'",
                f"{type(loss).__name__}",
                "give its outputs and criterion apart, or use curvature='hessian'",
            )
        self._names = [*selected]
        self._params = [*selected.values()]
        self._outputs, self._dummies, self._pulled, self._slopes = [], [], [], []
        hyper = {name: value.detach() for name, value in instance.hyper.items()}
        share = 1 / len(instance.inner)
        for batch in instance.inner:
            outputs, _ = loss.outputs(params, hyper, instance.buffers, batch)
            dummy = torch.zeros_like(outputs, requires_grad=True)
            pulled = torch.autograd.grad(
                outputs, self._params, dummy, create_graph=True, allow_unused=True, materialize_grads=True
            )
            point = outputs.detach().requires_grad_()
            value = loss.criterion(point, hyper, batch) * share
            (slope,) = torch.autograd.grad(value, point, create_graph=True)
            self._outputs.append(outputs)
            self._dummies.append(dummy)
            self._pulled.append(list(pulled))
            self._slopes.append((slope, point))
        self._penalty: list[Tensor] = []
        if loss.penalty is not None:
            gradients = torch.autograd.grad(
                loss.penalty(params, hyper), self._params, create_graph=True, allow_unused=True, materialize_grads=True
            )
            self._penalty = [*gradients]

    def pull(self, weights: Params, is_batched: bool) -> Params:
        """Return the product by parameter name."""
        given = [weights[name] for name in self._names]

        def grad(outputs: list[Tensor], inputs: list[Tensor], vectors: list[Tensor]) -> tuple[Tensor, ...]:
            return torch.autograd.grad(
                outputs,
                inputs,
                vectors,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
                is_grads_batched=is_batched,
            )

        total = [torch.zeros_like(weight) for weight in given]
        for outputs, dummy, pulled, (slope, point) in zip(
            self._outputs, self._dummies, self._pulled, self._slopes, strict=True
        ):
            kept = [(value, weight) for value, weight in zip(pulled, given, strict=True) if value.requires_grad]
            (moved,) = grad([value for value, _ in kept], [dummy], [weight for _, weight in kept])
            (bent,) = grad([slope], [point], [moved])
            total = [a + b for a, b in zip(total, grad([outputs], self._params, [bent]), strict=True)]
        kept = [(v, w) for v, w in zip(self._penalty, given, strict=False) if v.requires_grad]
        if kept:
            penalty = grad([value for value, _ in kept], self._params, [weight for _, weight in kept])
            total = [a + b for a, b in zip(total, penalty, strict=True)]
        return dict(zip(self._names, total, strict=True))
