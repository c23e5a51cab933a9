"""The hypergradient in some parameters of a torch module, through the minimum in all its others."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

from auxo.bilevel.hypergradient import HypergradResult, hypergradient
from auxo.bilevel.module import CalledModule, FunctionalModule
from auxo.bilevel.problem import BilevelProblem, Mean, Params
from auxo.bilevel.solvers import AbstractSolver
from auxo.errors import HypergradientError

ModuleLoss: TypeAlias = Callable[[], Float[Tensor, ""]]
"""Returns a scalar loss of a module's parameters as they are."""


_PREFIX = "module."  # of the names within CalledModule


def differentiate_parameters(
    module: nn.Module,
    hyper: Sequence[nn.Parameter],
    *,
    inner_loss: ModuleLoss,
    outer_loss: ModuleLoss,
    solver: AbstractSolver,
    mean: Mean | None = None,
    seed: int = 0,
) -> HypergradResult:
    """Return the gradient of an outer loss in some of a module's parameters, through an inner loss in all others.

    The losses are written as for plain training, with the module's own layers. The module stays as it is: parameters,
    running statistics and gradients.

    Args:
        module: holds all that the losses read, in the mode in which it is to run.
        hyper: parameters of it to be differentiated in; all other trainable parameters are the inner ones. Those that
            the outer loss does not reach have a gradient of zero there.
        inner_loss: evaluated with the parameters replaced; may draw nothing but through layers of the module.
        outer_loss: likewise.
        solver: how to differentiate.
        mean: see :func:`auxo.bilevel.hypergradient`.
        seed: of layers that draw random numbers.

    Returns:
        The gradients by the names that the module has for them, in the order of ``hyper``, and how well it went.

    Raises:
        AuxoError: as :func:`auxo.bilevel.hypergradient` does; or a parameter is none of the module's that are trained.

    Example:
        >>> import torch
        >>> from auxo.bilevel import ConjugateGradient, Implicit
        >>> net = nn.ParameterDict({"w": torch.tensor([1.5]), "h": torch.tensor([1.0])})
        >>> lower = lambda: ((net["w"] - 3) ** 2 + net["h"] * net["w"] ** 2).sum() / 2  # w* = 3 / (1 + h)
        >>> losses = {"inner_loss": lower, "outer_loss": lambda: net["w"].sum()}
        >>> solver = Implicit(linear=ConjugateGradient(iterations=1))
        >>> differentiate_parameters(net, [net["h"]], **losses, solver=solver).grads["h"].item()
        -0.75
    """
    net = FunctionalModule(CalledModule(module), seed=seed)
    chosen = _name_parameters(module, hyper, trained=net.params)
    params = {name: value for name, value in net.params.items() if name not in chosen}

    def level(params: Params, hyper: Params, buffers: Params, loss: ModuleLoss) -> tuple[Tensor, Params]:
        return net({**params, **hyper}, buffers, loss)

    result = hypergradient(
        BilevelProblem(inner_loss=level, outer_loss=level),
        params,
        chosen,
        inner=[inner_loss],
        outer=outer_loss,
        solver=solver,
        buffers=net.buffers,
        mean=mean,
    )
    return result._replace(grads=_cut_prefix(result.grads), params=_cut_prefix(result.params))


def _name_parameters(module: nn.Module, hyper: Sequence[nn.Parameter], *, trained: Params) -> Params:
    """Return the parameters by name, as the functional module has them, or refuse one that is not trained there."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    chosen: Params = {}
    for parameter in hyper:
        name = names.get(parameter)
        if name is None or _PREFIX + name not in trained:
            fix = "pass parameters of the module that require gradient"
            raise HypergradientError("trained parameters of the module as hyper", repr(name or "another"), fix)
        chosen[_PREFIX + name] = trained[_PREFIX + name]
    return chosen


def _cut_prefix(tensors: Mapping[str, Tensor]) -> Params:
    """Return tensors under the names that the module has for them."""
    return {name.removeprefix(_PREFIX): value for name, value in tensors.items()}
