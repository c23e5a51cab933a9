"""Checks of what :func:`auxo.bilevel.hypergradient` is given: a mistake is told in one line.

They look at kinds, names and shapes only, so that no call waits for the device.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from auxo.bilevel.linear.interface import AbstractLinearSolver
from auxo.bilevel.problem import BilevelProblem
from auxo.bilevel.solvers.interface import AbstractSolver
from auxo.errors import HypergradientError

OnFailure: TypeAlias = Literal["raise", "warn", "skip"]

_NAMED = {
    "params": "pass dict(module.named_parameters()), or FunctionalModule(module).params",
    "hyper": "pass {'name': tensor}",
    "buffers": "pass FunctionalModule(module).buffers, or leave it out",
    "inner_state": "pass result.inner_state of an earlier call, or leave it out",
    "warm_start": "pass result.info.adjoint of an earlier call, or leave it out",
}


def check_arguments(
    problem: object,
    solver: object,
    *,
    named: Mapping[str, object],
    inner: object,
    mean: object,
    on_failure: object,
) -> None:
    """Refuse arguments of :func:`auxo.bilevel.hypergradient` of another kind than it takes.

    Args:
        problem: is to be a :class:`BilevelProblem`.
        solver: is to be one, with its options.
        named: tensors by name, by argument; ``None`` stands for none.
        inner: is to be a list of batches.
        mean: is to be called.
        on_failure: is to be one of ``OnFailure``.

    Raises:
        HypergradientError: one is not so.
    """
    if not isinstance(problem, BilevelProblem):
        raise _make_refusal(
            "problem to be a BilevelProblem", problem, "write BilevelProblem(inner_loss=..., outer_loss=...)"
        )
    for loss in ("inner_loss", "outer_loss"):
        if not callable(getattr(problem, loss)):
            raise _make_refusal(
                f"{loss} to be a function", getattr(problem, loss), "let it take params, hyper, buffers and batch"
            )
    if not isinstance(solver, AbstractSolver):
        raise _make_refusal("solver to be a solver", solver, _call_class(solver, "Implicit"))
    linear = getattr(solver, "linear", None)
    if linear is not None and not isinstance(linear, AbstractLinearSolver):
        fix = _call_class(linear, "ConjugateGradient", option="linear=")
        raise _make_refusal("linear to be a linear solver", linear, fix)
    for argument, tensors in named.items():
        _check_named(argument, tensors)
    params, start = named.get("params"), named.get("warm_start")
    if isinstance(params, Mapping) and isinstance(start, Mapping):
        for name, tensor in start.items():
            if name not in params or params[name].shape != tensor.shape:
                got = f"{name!r} of shape {tuple(tensor.shape)}"
                raise HypergradientError("warm_start to hold inner parameters", got, _NAMED["warm_start"])
    if not isinstance(inner, list) or not inner:
        got = f"a {type(inner).__name__}" if not isinstance(inner, list) else "an empty list"
        raise HypergradientError("inner to be a list of at least one batch", got, "write inner=[batch]")
    if mean is not None and not callable(mean):
        raise _make_refusal("mean to be a function", mean, "leave it out in a single process")
    if on_failure not in get_args(OnFailure):
        words = ", ".join(map(repr, get_args(OnFailure)))
        raise HypergradientError(f"on_failure to be one of {words}", repr(on_failure), "choose one of them")


def _check_named(argument: str, tensors: object) -> None:
    """Refuse what is not tensors by name."""
    if tensors is None:
        return
    if not isinstance(tensors, Mapping):
        raise _make_refusal(f"{argument} to be tensors by name", tensors, _NAMED[argument])
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise _make_refusal(f"a tensor for {name!r} of {argument}", tensor, _NAMED[argument])


def _call_class(got: object, example: str, *, option: str = "") -> str:
    """Return what to write in the place of something that is no solver; often it is the class of one."""
    return f"write {option}{got.__name__}()" if isinstance(got, type) else f"choose one, such as {example}()"


def _make_refusal(expected: str, got: object, fix: str) -> HypergradientError:
    """Return the error that says what an argument is."""
    what = f"the class {got.__name__}" if isinstance(got, type) else f"a {type(got).__name__}"
    return HypergradientError(expected, what, fix)
