"""Inner losses with a known structure, which some solvers make use of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from auxo.bilevel.problem import Data, Params
from auxo.bilevel.softmax_head import with_ones
from auxo.errors import HypergradientError

Outputs: TypeAlias = Callable[[Params, Params, Params, Data], tuple[Tensor, Params]]


@dataclass(frozen=True, kw_only=True)
class CompositeLoss:
    """A convex criterion of a network's outputs, with an optional penalty on its weights.

    A level like any other; solvers can also take products with its Gauss-Newton matrix, which is positive semi-definite
    where the criterion is convex in the outputs (cross-entropy in logits, squared error).

    Args:
        outputs: maps (inner parameters, hyper-parameters, buffers, batch) to the outputs, any shape, and new buffers.
        criterion: maps (outputs, hyper-parameters, batch) to a scalar.
        penalty: maps (inner parameters, hyper-parameters) to a scalar that is added; its Hessian is used as it is.
    """

    outputs: Outputs
    criterion: Callable[[Tensor, Params, Data], Tensor]
    penalty: Callable[[Params, Params], Tensor] | None = None

    def __call__(
        self,
        params: Params,
        hyper: Params,
        buffers: Params,
        batch: Data,
    ) -> tuple[Float[Tensor, ""], Params]:
        """Return the loss and the new buffers."""
        outputs, new_buffers = self.outputs(params, hyper, buffers, batch)
        loss = self.criterion(outputs, hyper, batch)
        return loss if self.penalty is None else loss + self.penalty(params, hyper), new_buffers


@dataclass(frozen=True, kw_only=True)
class WeightedLoss:
    r"""Losses that depend on the inner parameters, weighted by factors that depend on the hyper-parameters.

    .. math:: G(w, h) = \frac1n \sum_i \langle q_i(h), \ell_i(w) \rangle + R(w),

    with ``n`` the length of the first dimension. Weights per sample, generated soft labels and weights per task all
    have this form. A level like any other; :class:`auxo.bilevel.ForwardMode` differentiates it without a second
    backward pass.

    Args:
        losses: maps (inner parameters, buffers, batch) to losses of shape ``(n, ...)`` and new buffers.
        weights: maps (hyper-parameters, batch) to weights of the same shape.
        rest: maps (inner parameters, buffers, batch) to a scalar that is added and has no hyper-parameters.
    """

    losses: Callable[[Params, Params, Data], tuple[Tensor, Params]]
    weights: Callable[[Params, Data], Tensor]
    rest: Callable[[Params, Params, Data], Tensor] | None = None

    def __call__(
        self,
        params: Params,
        hyper: Params,
        buffers: Params,
        batch: Data,
    ) -> tuple[Float[Tensor, ""], Params]:
        """Return the loss and the new buffers.

        Raises:
            HypergradientError: losses and weights differ in shape.
        """
        losses, new_buffers = self.losses(params, buffers, batch)
        weights = self.weights(hyper, batch)
        if losses.shape != weights.shape or losses.dim() == 0:
            raise HypergradientError(
                "one weight per loss, with the samples in the first dimension",
                f"losses of shape {tuple(losses.shape)} and weights of shape {tuple(weights.shape)}",
                "return both in the same shape",
            )
        loss = (weights * losses).sum() / len(losses)
        return loss if self.rest is None else loss + self.rest(params, buffers, batch), new_buffers


@dataclass(frozen=True, kw_only=True)
class LinearHeadLoss:
    """The loss of a linear head on features that the hyper-parameters make; its only parameter is ``weight``.

    ``weight`` has shape ``(outputs, dim + 1)`` with the bias in the last column. A level like any other;
    :class:`auxo.bilevel.ExactHead` solves it at once.

    Args:
        features: maps (hyper-parameters, buffers, batch) to features of shape ``(n, dim)`` and new buffers.
        targets: maps the batch to int64 labels of shape ``(n,)`` for cross-entropy, or to values of shape
            ``(n, outputs)`` for least squares.
        criterion: mean cross-entropy, or half the mean squared error summed over the outputs.
        weight_decay: half its product with the squared norm of ``weight`` is added; above 0. A number, or a function of
            the hyper-parameters, such as ``lambda hyper: hyper["log_decay"].exp()``.
    """

    features: Callable[[Params, Params, Data], tuple[Tensor, Params]]
    targets: Callable[[Data], Tensor]
    criterion: Literal["cross_entropy", "least_squares"] = "cross_entropy"
    weight_decay: float | Callable[[Params], Tensor] = 1e-3

    def decay(self, hyper: Params) -> Tensor | float:
        """Return the weight decay, attached if it depends on the hyper-parameters."""
        return self.weight_decay(hyper) if callable(self.weight_decay) else self.weight_decay

    def __call__(
        self,
        params: Params,
        hyper: Params,
        buffers: Params,
        batch: Data,
    ) -> tuple[Float[Tensor, ""], Params]:
        """Return the loss and the new buffers."""
        features, new_buffers = self.features(hyper, buffers, batch)
        outputs = with_ones(features) @ params["weight"].T
        if self.criterion == "cross_entropy":
            loss = functional.cross_entropy(outputs, self.targets(batch))
        else:
            loss = (outputs - self.targets(batch)).square().sum(dim=1).mean() / 2
        return loss + self.decay(hyper) / 2 * params["weight"].square().sum(), new_buffers
