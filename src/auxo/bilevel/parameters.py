"""The hypergradient in some parameters of a torch module, through the minimum in all its others."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from auxo.bilevel.hypergradient import HypergradResult, OnFailure, hypergradient
from auxo.bilevel.module import FunctionalModule
from auxo.bilevel.problem import BilevelProblem, Mean, Params
from auxo.bilevel.solvers import AbstractSolver
from auxo.errors import HypergradientError

ModuleLoss: TypeAlias = Callable[[], Float[Tensor, ""]]
"""Returns a scalar loss of a module's parameters as they are."""


class _Called(nn.Module):
    """A module that evaluates a loss of another one, whose parameters and buffers may have been replaced."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, loss: ModuleLoss) -> Tensor:
        """Return the loss."""
        return loss()


def differentiate_parameters(
    module: nn.Module,
    hyper: Sequence[nn.Parameter],
    *,
    inner_loss: ModuleLoss,
    outer_loss: ModuleLoss,
    solver: AbstractSolver,
    mean: Mean | None = None,
    seed: int = 0,
    on_failure: OnFailure = "raise",
) -> HypergradResult:
    """Return the gradient of an outer loss in some of a module's parameters, through an inner loss in all others.

    For a method whose parts are one module, some of which weight or make the losses that others learn by. The losses
    are written as for plain training, with the module's own layers. The module stays as it is: parameters, running
    statistics and gradients.

    Args:
        module: holds everything that the losses read, in the mode in which it is to run.
        hyper: parameters of it to be differentiated in; all other trainable parameters are the inner ones. Those that
            the outer loss does not reach have a gradient of zero there.
        inner_loss: evaluated with the parameters replaced; may draw nothing but through layers of the module.
        outer_loss: likewise.
        solver: how to differentiate.
        mean: see :func:`auxo.bilevel.hypergradient`.
        seed: of layers that draw random numbers.
        on_failure: see :func:`auxo.bilevel.hypergradient`.

    Returns:
        The gradients by the names that the module has for them, in the order of ``hyper``, and how well it went.

    Raises:
        HypergradientError: a parameter of ``hyper`` is none of the module's that are trained, or gets no gradient; see
            also :func:`auxo.bilevel.hypergradient`.
        NonFiniteError: see :func:`auxo.bilevel.hypergradient`.

    Example:
        >>> import torch
        >>> from auxo.bilevel import ConjugateGradient, Implicit
        >>> net = nn.ParameterDict({"w": torch.tensor([1.5]), "h": torch.tensor([1.0])})
        >>> result = differentiate_parameters(  # w* = 3 / (1 + h), and the outer loss is w
        ...     net,
        ...     [net["h"]],
        ...     inner_loss=lambda: ((net["w"] - 3) ** 2 + net["h"] * net["w"] ** 2).sum() / 2,
        ...     outer_loss=lambda: net["w"].sum(),
        ...     solver=Implicit(linear=ConjugateGradient(iterations=1)),
        ... )
        >>> result.grads["h"].item()
        -0.75
    """
    net = FunctionalModule(_Called(module), seed=seed)
    prefix = "module."
    names = {parameter: name for name, parameter in module.named_parameters()}
    params = net.params
    given: dict[str, Tensor] = {}
    for parameter in hyper:
        name = names.get(parameter, "")
        if prefix + name not in params:
            got = repr(name) if name else "another"
            fix = "pass parameters of the module that require gradient"
            raise HypergradientError("trained parameters of the module as hyper", got, fix)
        given[prefix + name] = params.pop(prefix + name)

    def level(params: Params, hyper: Params, buffers: Params, loss: ModuleLoss) -> tuple[Tensor, Params]:
        return net({**params, **hyper}, buffers, loss)

    result = hypergradient(
        BilevelProblem(inner_loss=level, outer_loss=level),
        params,
        given,
        inner=[inner_loss],
        outer=outer_loss,
        solver=solver,
        buffers=net.buffers,
        mean=mean,
        on_failure=on_failure,
    )
    return result._replace(grads=_cut_prefix(result.grads, prefix), params=_cut_prefix(result.params, prefix))


def _cut_prefix(tensors: Mapping[str, Tensor], prefix: str) -> Params:
    """Return tensors under their names without a prefix."""
    return {name.removeprefix(prefix): value for name, value in tensors.items()}
