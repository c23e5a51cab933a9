"""The gradient of a loss with its graph, and products with the Hessian that are taken from it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.derivatives import (
    attached_gradients,
    differentiating,
    require_differentiable,
    require_scalar,
    widen,
)
from auxo.bilevel.instance import leaves
from auxo.bilevel.linear import Operator
from auxo.bilevel.problem import Mean, Params
from auxo.bilevel.second_order import FastSecondDerivatives
from auxo.bilevel.vectors import Layout
from auxo.errors import HypergradientError

Pull: TypeAlias = Callable[[Params, bool], Params]
"""Maps named tensors, and whether several are stacked in front, to the product of a matrix with them."""


def multiply(pull: Pull, layout: Layout, mean: Mean, vector: Float[Tensor, " size"]) -> Float[Tensor, " size"]:
    """Return a matrix times a vector, averaged over the processes."""
    return mean(layout.flatten(pull(layout.split(vector), False)))


def multiply_together(
    pull: Pull, layout: Layout, mean: Mean, vectors: Float[Tensor, "count size"]
) -> Float[Tensor, "count size"]:
    """Return a matrix times several vectors, vectorised over them where every operation allows it."""
    try:
        pulled = pull(layout.split(vectors), True)
    except RuntimeError as error:
        if "Batching rule not implemented" not in str(error):
            raise
        return torch.stack([multiply(pull, layout, mean, vector) for vector in vectors])
    rows = [layout.flatten({name: value[i] for name, value in pulled.items()}) for i in range(len(vectors))]
    return mean(torch.cat(rows)).view_as(vectors)


class GradientGraph:
    """The gradient of a loss, attached, and products of its derivative in the same parameters.

    Args:
        loss: scalar made of ``params``.
        params: leaves that require gradient.
        name: what the loss is called in errors.

    Attributes:
        params: those that the gradient moves with; the others have no row but zero.
        gradients: in those.
        fixed: the gradients that no parameter moves.

    Raises:
        HypergradientError: the loss depends on no parameter, or a layer cannot be differentiated twice.
    """

    def __init__(self, loss: Float[Tensor, ""], params: Params, *, name: str) -> None:
        if not loss.requires_grad:
            raise HypergradientError(
                f"{name} that depends on its parameters",
                "a constant",
                "compute it from the params it is given, without .detach(), .item() or torch.no_grad()",
            )
        found = {key: value for key, value in attached_gradients(loss, params).items() if value is not None}
        self.gradients: Params = {key: value for key, value in found.items() if value.requires_grad}
        self.fixed: Params = {key: value for key, value in found.items() if not value.requires_grad}
        self.params: Params = {key: params[key] for key in self.gradients}

    def pull(self, weights: Params, is_batched: bool) -> Params:
        """Return the derivative times named tensors, of which those of :attr:`params` count; keeps the graph."""
        if not self.gradients:
            return {}
        pulled = torch.autograd.grad(
            [*self.gradients.values()],
            [*self.params.values()],
            [weights[name] for name in self.params],
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
            is_grads_batched=is_batched,
        )
        return dict(zip(self.params, pulled, strict=True))


class HessianOperator:
    """Products with the Hessian of one loss at fixed parameters, all from one graph.

    The gradient's graph is built here, once. A product costs about two gradients, and has the bits of the product from
    a graph that is built anew at the same place, wherever torch's kernels give equal bits for equal inputs.

    Products are taken in float32 at the least and outside of autocast; attention uses its plain kernel, convolutions
    and batch norm have second derivatives of auxo's own, equal to rounding. Give the loss inputs of the parameters'
    precision, and evaluate modules through :class:`auxo.bilevel.FunctionalModule`, which leaves its buffers alone.

    Memory: the graph, which is about twice what a plain gradient keeps, until :meth:`free` or the end of the object.

    Args:
        loss: maps the parameters to a scalar; called once.
        params: at which the Hessian is taken, not to be changed in place before the last product. All of them are part
            of its vectors; those that the loss does not reach, or reaches only linearly, have zeros in every product.
        mean: averages a vector over the processes; every product and the gradient go through it. ``None`` in a single
            process.

    Attributes:
        layout: where each parameter lies in a vector.

    Raises:
        HypergradientError: the loss is no scalar, depends on no parameter, or cannot be differentiated twice.

    Example:
        >>> hessian = HessianOperator(lambda p: p["w"].pow(3).sum(), {"w": torch.tensor([1.0, 2.0])})
        >>> hessian.gradient().tolist(), hessian.product(torch.ones(2)).tolist()
        ([3.0, 12.0], [6.0, 12.0])
        >>> from auxo.bilevel import ConjugateGradient
        >>> solver = ConjugateGradient(iterations=2, damping=1.0)  # of H / 2 + I
        >>> solver.solve(hessian.operator(0.5), torch.tensor([8.0, 14.0])).solution.round(decimals=4).tolist()
        [2.0, 2.0]
    """

    def __init__(
        self, loss: Callable[[Params], Tensor], params: Mapping[str, Tensor], *, mean: Mean | None = None
    ) -> None:
        require_differentiable({"parameter": params})
        points = leaves(widen(dict(params)))
        self.layout = Layout(points)
        self._mean: Mean = mean or _keep_vector
        self._graph: GradientGraph | None = None
        with self._enable_derivatives():
            with FastSecondDerivatives():
                value = loss(points)
            require_scalar("the loss", value)
            self._graph = GradientGraph(value, points, name="a loss")

    def gradient(self) -> Float[Tensor, " size"]:
        """Return the loss's gradient, averaged over the processes; detached."""
        graph = self._require_graph()
        parts = {name: value.detach() for name, value in {**graph.gradients, **graph.fixed}.items()}
        missing = self.layout.split(torch.zeros(self.layout.size, dtype=self.layout.dtype, device=self.layout.device))
        return self._mean(self.layout.flatten({**missing, **parts}))

    def product(self, vector: Float[Tensor, " size"]) -> Float[Tensor, " size"]:
        """Return the Hessian times a vector, averaged over the processes; detached."""
        with self._enable_derivatives():
            return multiply(self._pull_back, self.layout, self._mean, vector.detach())

    def products(self, vectors: Float[Tensor, "count size"]) -> Float[Tensor, "count size"]:
        """Return the Hessian times several vectors at once; memory grows with their number."""
        with self._enable_derivatives():
            return multiply_together(self._pull_back, self.layout, self._mean, vectors.detach())

    def operator(self, scale: float = 1.0) -> Operator:
        """Return ``scale`` times the Hessian as what linear solvers take; it holds on to this object and its graph."""
        return Operator(
            lambda vector: self.product(vector) * scale,
            lambda vectors: self.products(vectors) * scale,
            tuple(self.layout.sizes),
        )

    def free(self) -> None:
        """Give the graph's memory back; there are no products after it."""
        self._graph = None

    def _pull_back(self, weights: Params, is_batched: bool) -> Params:
        """Return the product by name, with zeros for the parameters that the gradient does not move with."""
        pulled = self._require_graph().pull(weights, is_batched)
        return {name: pulled[name] if name in pulled else torch.zeros_like(weights[name]) for name in weights}

    def _require_graph(self) -> GradientGraph:
        """Return the graph, or say that there is none."""
        if self._graph is None:
            raise HypergradientError(
                "a HessianOperator that has its graph", "one after free()", "build another at the same parameters"
            )
        return self._graph

    def _enable_derivatives(self) -> AbstractContextManager[None]:
        """Return the context in which graph and products are made."""
        return differentiating(self.layout.device, "second", used_by="HessianOperator")


def _keep_vector(vector: Tensor) -> Tensor:
    """Return the vector: the average over one process."""
    return vector
