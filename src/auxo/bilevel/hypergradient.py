"""The one entry point: checks what it is given, runs a solver, checks what comes out.

Nothing that goes in is changed. Products with second derivatives are taken in float32 at the least: an autocast region
around the call does not reach into it, and parameters and batches of lower precision are widened (batches that are
tensors, or lists, tuples, named tuples and dictionaries of them). While a solver needs second derivatives,
``scaled_dot_product_attention`` uses its plain kernel, the only one that has them, and convolutions and batch norm use
second derivatives of auxo's own, which are faster and equal to rounding.

Example:
    >>> from auxo.bilevel import BilevelProblem, ConjugateGradient, Implicit
    >>> data, target = torch.tensor([1.0, 3.0]), torch.tensor(3.0)
    >>> problem = BilevelProblem(  # w* = mean(data) / (1 + h)
    ...     inner_loss=lambda p, h, b, x: (((p["w"] - x) ** 2).mean() / 2 + h["h"] * p["w"] ** 2 / 2, b),
    ...     outer_loss=lambda p, h, b, y: ((p["w"] - y) ** 2 / 2, b),
    ... )
    >>> at = {"w": torch.tensor(1.0)}, {"h": torch.tensor(1.0)}
    >>> solver = Implicit(linear=ConjugateGradient(iterations=1))
    >>> hypergradient(problem, *at, inner=[data], outer=target, solver=solver).grads["h"].item()
    1.0
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.bilevel.arguments import OnFailure, check_arguments
from auxo.bilevel.derivatives import differentiating, require_differentiable, widen
from auxo.bilevel.instance import Instance, leaves
from auxo.bilevel.problem import BilevelProblem, Data, Mean, Params
from auxo.bilevel.solvers.interface import AbstractSolver, SolverAnswer, SolverInfo
from auxo.bilevel.vectors import Layout
from auxo.errors import AuxoError, HypergradientError, NonFiniteError


class HypergradientWarning(RuntimeWarning):
    """A hypergradient that should not be used; see ``on_failure`` of :func:`hypergradient`."""


class HypergradResult(NamedTuple):
    """The gradient of the outer loss in the hyper-parameters.

    Args:
        grads: direct and indirect part together, by name; detached, in each hyper-parameter's shape and dtype.
        outer_loss: at the inner parameters of :attr:`params`; detached scalar.
        params: inner parameters at which the outer loss was taken; detached. Those passed in, moved by the solver's
            inner steps where it makes any.
        buffers: after those steps; those passed in where the solver makes none.
        inner_state: state of the inner optimiser after those steps, to continue from.
        info: how well it went.
    """

    grads: Params
    outer_loss: Float[Tensor, ""]
    params: Params
    buffers: Params
    inner_state: Params
    info: SolverInfo


def hypergradient(
    problem: BilevelProblem,
    params: Mapping[str, Tensor],
    hyper: Mapping[str, Tensor],
    *,
    inner: Sequence[Data],
    outer: Data,
    solver: AbstractSolver,
    buffers: Mapping[str, Tensor] | None = None,
    inner_state: Params | None = None,
    warm_start: Params | None = None,
    mean: Mean | None = None,
    on_failure: OnFailure = "raise",
) -> HypergradResult:
    """Return the gradient of the outer loss in the hyper-parameters, through the inner problem.

    A pure function; see the module's docstring for precision, attention and convolutions.

    Args:
        problem: the two losses.
        params: inner parameters by name; floating point. For :class:`Implicit` the inner solution, else where the inner
            steps start.
        hyper: hyper-parameters by name; floating point.
        inner: a list of inner batches, each of any type that the inner loss takes. Solvers that make inner steps use
            them in turn, the others average over them.
        outer: the outer batch.
        solver: how to differentiate.
        buffers: of the inner network, handed to both losses; none by default.
        inner_state: ``result.inner_state`` of an earlier call, to go on with the inner optimiser's momentum.
        warm_start: ``result.info.adjoint`` of an earlier call, to start the linear solver from.
        mean: averages a vector over the processes; ``None`` in a single process. Every gradient and product that
            depends on a batch goes through it, so with losses that are means over equal parts of a joined batch every
            process gets the single process's numbers.
        on_failure: when an answer is not finite or a linear solver broke down: ``"raise"``, ``"warn"`` and return it,
            or ``"skip"``: return zeros, without waiting for the device.

    Returns:
        Gradients, outer loss, the inner parameters it was taken at, and how well it went; all detached.

    Raises:
        HypergradientError: an argument is of another kind, or ``warm_start`` of other parameters; a hyper-parameter
            gets no gradient and is not in ``problem.frozen``; a loss changed something in place, is no scalar or cannot
            be differentiated twice; a linear solver broke down (``"raise"``).
        NonFiniteError: the answer is not finite (``"raise"``).
    """
    named = {"params": params, "hyper": hyper, "buffers": buffers, "inner_state": inner_state, "warm_start": warm_start}
    check_arguments(problem, solver, named=named, inner=inner, mean=mean, on_failure=on_failure)
    buffers, start = buffers or {}, (inner_state or {}, warm_start or {})
    instance = _bind_arguments(
        problem, params, hyper, inner, outer, buffers, mean, *start, solver.derivatives == "second"
    )
    answer = _run_solver(solver, instance)
    grads = _join_parts(answer, problem, hyper, solver)
    flags = [torch.isfinite(value).all() for value in grads.values()]
    info = replace(answer.info, is_finite=torch.stack([*flags, answer.info.is_finite]).all())
    moved = _restore_dtypes(answer.params, params), _restore_dtypes(answer.buffers, buffers)
    result = HypergradResult(grads, answer.outer_loss, *moved, answer.inner_state, info)
    return _handle_failure(result, instance, on_failure)


def _bind_arguments(
    problem: BilevelProblem,
    params: Mapping[str, Tensor],
    hyper: Mapping[str, Tensor],
    inner: Sequence[Data],
    outer: Data,
    buffers: Mapping[str, Tensor],
    mean: Mean | None,
    inner_state: Params,
    warm_start: Params,
    is_second_order: bool,
) -> Instance:
    """Check the arguments and gather them, widened to float32 at the least."""
    require_differentiable({"inner parameter": params, "hyper-parameter": hyper})
    unknown = sorted(problem.frozen - set(hyper))
    if unknown:
        raise HypergradientError("frozen to name hyper-parameters", repr(unknown[0]), f"choose from {sorted(hyper)}")
    return Instance(
        problem=problem,
        params={name: widen(value.detach()) for name, value in params.items()},
        hyper=leaves({name: widen(value) for name, value in hyper.items()}),
        buffers={name: widen(value.detach()) for name, value in buffers.items()},
        inner=[widen(batch) for batch in inner],
        outer=widen(outer),
        over_processes=mean,
        inner_state=inner_state,
        warm_start=warm_start,
        is_second_order=is_second_order,
    )


def _run_solver(solver: AbstractSolver, instance: Instance) -> SolverAnswer:
    """Run the solver where layers have the derivatives it takes, in full precision; explain torch's complaints."""
    with differentiating(instance.device, solver.derivatives, used_by=type(solver).__name__):
        return solver.solve(instance)


def _restore_dtypes(values: Params, given: Mapping[str, Tensor]) -> Params:
    """Return detached values in the dtypes that were given."""
    return {name: v.detach().to(given[name].dtype if name in given else v.dtype) for name, v in values.items()}


def _join_parts(
    answer: SolverAnswer, problem: BilevelProblem, hyper: Mapping[str, Tensor], solver: AbstractSolver
) -> Params:
    """Add the direct and the indirect part; refuse hyper-parameters that have neither."""
    grads: Params = {}
    for name, value in hyper.items():
        parts = [part for part in (answer.direct[name], answer.indirect[name]) if part is not None]
        if not parts and name not in problem.frozen:
            way = f"; {type(solver).__name__} drops {solver.drops}" if solver.drops else ""
            raise HypergradientError(
                "every hyper-parameter to reach the outer loss",
                f"no gradient for {name!r}",
                f"let it enter a loss without .detach(), or list it in BilevelProblem.frozen{way}",
            )
        total = sum(parts, start=torch.zeros_like(value, dtype=parts[0].dtype if parts else value.dtype))
        grads[name] = total.detach().to(value.dtype)
    return grads


def _handle_failure(result: HypergradResult, instance: Instance, on_failure: OnFailure) -> HypergradResult:
    """Do what was asked for with an answer that should not be used."""
    failed = result.info.has_failed
    if on_failure == "skip":
        zeros = {name: torch.where(failed, torch.zeros_like(value), value) for name, value in result.grads.items()}
        return result._replace(grads=zeros)
    if not bool(failed):
        return result
    error = _describe_failure(result, instance)
    if on_failure == "raise":
        raise error
    warnings.warn(str(error), HypergradientWarning, stacklevel=3)
    return result


def _describe_failure(result: HypergradResult, instance: Instance) -> AuxoError:
    """Say what went wrong, and in which parameter."""
    breakdown = result.info.breakdown
    if breakdown is not None and bool(breakdown.occurred):
        reached = {name: instance.params[name] for name in result.info.adjoint}
        name, share = Layout(reached).share_of_largest(breakdown.direction)
        return HypergradientError(
            "an inner Hessian that the linear solver can invert",
            f"curvature {float(breakdown.curvature):.3g} along a direction that lies to {share:.0%} in {name!r}",
            breakdown.fix,
        )
    odd = [f"the gradient of {name!r}" for name, value in result.grads.items() if not bool(torch.isfinite(value).all())]
    return NonFiniteError(
        "a finite hypergradient",
        f"{odd[0] if odd else 'the outer loss'} not finite",
        "lower the inner rate, add damping, or look for a division by zero in the losses",
    )
