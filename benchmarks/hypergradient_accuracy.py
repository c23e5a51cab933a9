"""How far every solver's hypergradient is from the exact one, and what it costs; prints Markdown, draws with --picture.

The problems have a hypergradient in closed form. Everything is float64 and starts at the inner solution, save for the
table "from zeros". Cost is counted, not timed: evaluations of the inner gradient, and two for each Hessian product.
Outer gradients and the one mixed product of every solver are not counted.

    python benchmarks/hypergradient_accuracy.py                         the tables, minutes on one core
    python benchmarks/hypergradient_accuracy.py --picture figure.png   and the figure
    python benchmarks/hypergradient_accuracy.py --quick                 a smoke test of seconds, few budgets
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import torch
import tyro
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional

from auxo.bilevel import (
    MINRES,
    SGD,
    AbstractSolver,
    BilevelProblem,
    ConjugateGradient,
    ExactHead,
    FiniteDifference,
    FirstOrder,
    ForwardMode,
    FunctionalModule,
    HypergradResult,
    Implicit,
    Neumann,
    Nystrom,
    Params,
    Penalty,
    Unrolled,
    hypergradient,
)
from auxo.errors import HypergradientError
from hypergradient_closed_forms import SIZE, Case, quadratic, ridge
from measurement import describe_machine, markdown_table, peak_bytes

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of a backend without a window

_CPU = torch.device("cpu")
_PRODUCTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300)
_RANKS = tuple(rank for rank in _PRODUCTS if rank <= SIZE)
_STEPS = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)
_GOALS = (1e-2, 1e-6)
_MEMORY_BUDGETS = (1, 2, 4, 8, 16, 32, 64)
_PEAKS = (2, 5, 10, 20, 50, 100, 200)
_FLOOR = 1e-12  # of the figure: errors below are drawn there


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    picture: Path | None = None
    """File for the figure; none by default."""
    quick: bool = False
    """A smoke test: three budgets each."""


class Look(NamedTuple):
    """How a line is drawn."""

    color: str
    marker: str
    dashes: str = "-"
    is_hollow: bool = False


@dataclass(frozen=True)
class Series:
    """A solver at several budgets.

    Args:
        name: what tables and figure call it.
        solver: maps a budget and the rate of inner steps to the solver.
        budgets: iterations, terms, ranks or steps.
        look: of its line.
    """

    name: str
    solver: Callable[[int, float], AbstractSolver]
    budgets: Sequence[int]
    look: Look


@dataclass(frozen=True)
class Measured:
    """One point of a series: what was spent, and how near it came in length and in direction."""

    budget: int
    error: float
    cosine: float
    cost: int


# The colours of Okabe and Ito, which can be told apart whatever one's eyes: https://jfly.uni-koeln.de/color/
_BLUE, _SKY, _ORANGE, _GREEN, _RED, _PINK, _BLACK = (
    "#0072b2",
    "#56b4e9",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#000000",
)
_MINRES = Look(_SKY, "o", is_hollow=True)
_CHECKPOINTING = Look(_RED, "v", "--", is_hollow=True)
_TRUNCATED = Look(_RED, "v", ":", is_hollow=True)


def _nystrom(damping: float) -> Callable[[int, float], AbstractSolver]:
    """Return what makes the implicit solver with a Nystrom approximation of this damping."""
    return lambda rank, _: Implicit(linear=Nystrom(rank=rank, damping=damping))


def _penalty(weight: float) -> Callable[[int, float], AbstractSolver]:
    """Return what makes the penalty solver with this weight; the pulled loss is steeper, so its rate is lower."""
    return lambda steps, rate: Penalty(weight=weight, steps=steps, optimizer=SGD(rate=1 / (1 / rate + 1 / weight)))


SERIES = (
    Series("CG", lambda n, _: Implicit(linear=ConjugateGradient(iterations=n)), _PRODUCTS, Look(_BLUE, "o")),
    Series("MINRES", lambda n, _: Implicit(linear=MINRES(iterations=n)), _PRODUCTS, _MINRES),
    Series("Neumann, auto", lambda n, _: Implicit(linear=Neumann(terms=n)), _STEPS, Look(_ORANGE, "D")),
    Series("Nystrom, damping 1e-2", _nystrom(1e-2), _RANKS, Look(_GREEN, "s")),
    Series("Nystrom, damping 1e-6", _nystrom(1e-6), _RANKS, Look(_GREEN, "s", ":", is_hollow=True)),
    Series("Unrolled", lambda n, rate: Unrolled(steps=n, optimizer=SGD(rate=rate)), _STEPS, Look(_RED, "v")),
    Series(
        "Unrolled, checkpointing",
        lambda n, rate: Unrolled(steps=n, optimizer=SGD(rate=rate), checkpointing=True),
        _STEPS,
        _CHECKPOINTING,
    ),
    Series("Penalty, weight 1e2", _penalty(1e2), _STEPS, Look(_PINK, "P")),
    Series("Penalty, weight 1e6", _penalty(1e6), _STEPS, Look(_PINK, "P", ":", is_hollow=True)),
    Series("FiniteDifference", lambda _, rate: FiniteDifference(rate=rate), (1,), Look(_BLACK, "x")),
    Series("ForwardMode", lambda _, rate: ForwardMode(rate=rate), (1,), Look(_BLACK, "+")),
    Series("FirstOrder", lambda _, rate: FirstOrder(optimizer=SGD(rate=rate)), (1,), Look(_BLACK, "1")),
    Series("ExactHead", lambda _, __: ExactHead(), (1,), Look(_BLACK, "*")),
)


def cost(result: HypergradResult) -> int:
    """Return the inner gradients that a call was worth."""
    return result.info.inner_gradients + 2 * result.info.hessian_products


def measure(case: Case, series: Series, options: Options) -> list[Measured]:
    """Return a series' points on a problem.

    Raises:
        HypergradientError: the solver does not apply to the problem.
    """
    points = []
    for budget in _chosen(series.budgets, options):
        result = case.solve(series.solver(budget, case.rate))
        points.append(Measured(budget, case.error(result), case.cosine(result), cost(result)))
    return points


def least_error(points: Sequence[Measured]) -> Measured:
    """Return the cheapest point whose error is the least, give or take a tenth or what rounding leaves."""
    bound = max(1.1 * min(point.error for point in points), 1e-14)
    return next(point for point in points if point.error <= bound)


def _chosen(budgets: Sequence[int], options: Options) -> Sequence[int]:
    """Return the budgets, or the first three of a smoke test."""
    return budgets[:3] if options.quick else budgets


def print_case(case: Case, options: Options) -> dict[str, list[Measured]]:
    """Measure every series on a problem, print its table and return the points by name."""
    found: dict[str, list[Measured]] = {}
    rows, refused = [], []
    for series in SERIES:
        try:
            points = measure(case, series, options)
        except HypergradientError as error:
            refused.append(f"{series.name} does not apply: {error}.")
            continue
        found[series.name] = points
        best = least_error(points)
        call = partial(case.solve, series.solver(best.budget, case.rate))
        reached = [next((str(point.cost) for point in points if point.error <= goal), "") for goal in _GOALS]
        near = [f"{best.error:.0e}", f"{best.cosine:.3f}"]
        kept = f"{peak_bytes(call, _CPU) / 2**10:.0f}"
        rows.append([series.name, *reached, *near, str(best.budget), str(best.cost), kept])
    goals = [f"cost to {goal:.0e}" for goal in _GOALS]
    print(f"\n### {case.title}\n")
    print(markdown_table(["solver", *goals, "least error", "cosine", "at budget", "cost", "KiB"], rows), flush=True)
    for line in refused:
        print(f"\n{line}")
    return found


def _descend(case: Case, params: Params, steps: int) -> Params:
    """Return the inner parameters after plain gradient steps."""
    for _ in range(steps):
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        loss, _ = case.problem.inner_loss(leaves, {"h": case.hyper}, {}, None)
        slopes = torch.autograd.grad(loss, [*leaves.values()])
        pairs = zip(leaves.items(), slopes, strict=True)
        params = {name: value.detach() - case.rate * slope for (name, value), slope in pairs}
    return params


def from_zeros(case: Case, options: Options) -> dict[str, list[Measured]]:
    """Print errors where the inner training starts at zero and its steps are part of the cost; return the points."""
    zeros = {name: torch.zeros_like(value) for name, value in case.solution.items()}
    sgd = SGD(rate=case.rate)
    ways: dict[str, Callable[[int], AbstractSolver]] = {
        "train, then CG, 20": lambda _: Implicit(linear=ConjugateGradient(iterations=20)),
        "train, then FiniteDifference": lambda _: FiniteDifference(rate=case.rate),
        "Unrolled": lambda n: Unrolled(steps=n, optimizer=sgd),
        "Unrolled, last 20": lambda n: Unrolled(steps=n, optimizer=sgd, truncate=20),
        "Penalty, weight 1e2": lambda n: _penalty(1e2)(n, case.rate),
    }
    found: dict[str, list[Measured]] = {}
    for name, solver in ways.items():
        for steps in _chosen(_STEPS, options):
            start, spent = zeros, 0
            if name.startswith("train"):
                start, spent = _descend(case, zeros, steps), steps
            result = case.solve(solver(steps), start)
            point = Measured(steps, case.error(result), case.cosine(result), spent + cost(result))
            found.setdefault(name, []).append(point)
    rows = [
        [str(points[0].budget), *(f"{point.error:.0e} ({point.cost})" for point in points)]
        for points in zip(*found.values(), strict=True)
    ]
    print(f"\n### {case.title}, from zeros: error (cost, inner training included)\n")
    print(markdown_table(["steps", *found], rows), flush=True)
    return found


def memory(options: Options) -> dict[str, list[float]]:
    """Print the peak memory on a network in multiples of one plain inner gradient's; return it by solver."""
    torch.manual_seed(0)
    layers = [nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 9)]
    net = FunctionalModule(nn.Sequential(*layers))
    images, labels = torch.randn(256, 64), torch.arange(256) % 9
    hyper = {"h": torch.zeros(256)}

    def inner(params: Params, h: Params, buffers: Params, _: object) -> tuple[Tensor, Params]:
        outputs, buffers = net(params, buffers, images)
        return (functional.cross_entropy(outputs, labels, reduction="none") * h["h"].sigmoid()).mean(), buffers

    def outer(params: Params, _: Params, buffers: Params, __: object) -> tuple[Tensor, Params]:
        outputs, buffers = net(params, buffers, images)
        return functional.cross_entropy(outputs, labels), buffers

    problem = BilevelProblem(inner_loss=inner, outer_loss=outer)

    def plain() -> None:
        params = {name: value.requires_grad_() for name, value in net.params.items()}
        torch.autograd.grad(inner(params, hyper, net.buffers, None)[0], [*params.values()])

    unit = peak_bytes(plain, _CPU)
    solvers: dict[str, Callable[[int], AbstractSolver]] = {
        "Unrolled": lambda n: Unrolled(steps=n),
        "Unrolled, last 8": lambda n: Unrolled(steps=n, truncate=8),
        "Unrolled, checkpointing": lambda n: Unrolled(steps=n, checkpointing=True),
        "Nystrom": lambda n: Implicit(linear=Nystrom(rank=n)),
        "CG": lambda n: Implicit(linear=ConjugateGradient(iterations=n, damping=10.0)),
        "MINRES": lambda n: Implicit(linear=MINRES(iterations=n)),
        "Neumann": lambda n: Implicit(linear=Neumann(terms=n, scale=0.01)),
        "Penalty": lambda n: Penalty(steps=n),
        "FiniteDifference": lambda _: FiniteDifference(),
    }
    found: dict[str, list[float]] = {}
    for name, solver in solvers.items():
        for budget in _chosen(_MEMORY_BUDGETS, options):
            call = partial(
                hypergradient,
                problem,
                net.params,
                hyper,
                inner=[None],
                outer=None,
                solver=solver(budget),
                buffers=net.buffers,
                on_failure="skip",
            )
            found.setdefault(name, []).append(peak_bytes(call, _CPU) / unit)
    budgets = [str(budget) for budget in _chosen(_MEMORY_BUDGETS, options)]
    print(f"\n### Peak memory on a perceptron, in plain inner gradients of {unit / 2**20:.2f} MiB, by budget\n")
    print(markdown_table(["solver", *budgets], [[n, *(f"{v:.1f}" for v in values)] for n, values in found.items()]))
    return found


_LOOKS = {series.name: series.look for series in SERIES} | {
    "train, then CG, 20": Look(_BLUE, "o"),
    "train, then FiniteDifference": Look(_BLACK, "x", ":"),
    "Unrolled, last 20": _TRUNCATED,
    "Unrolled, last 8": _TRUNCATED,
    "Nystrom": Look(_GREEN, "s"),
    "Neumann": Look(_ORANGE, "D"),
    "Penalty": Look(_PINK, "P"),
}


def draw(
    points: dict[str, dict[str, list[Measured]]],
    trained: dict[str, list[Measured]],
    peaks: dict[str, list[float]],
    path: Path,
) -> None:
    """Draw error over cost for every problem, the same from zeros, and peak memory over the budget."""
    plt.rcParams.update({"font.size": 10, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False})
    figure, grid = plt.subplots(3, 2, figsize=(9, 11), layout="constrained")
    zeros, used = grid[2]
    panels = {**points, "ridge regression, trained from zeros": trained}
    for axes, (title, found) in zip(grid.flat, panels.items(), strict=False):
        for name, line in found.items():
            errors = [max(point.error, _FLOOR) for point in line]
            _curve(axes, [max(point.cost, 1) for point in line], errors, name)
        axes.set(xscale="log", yscale="log", xlim=(0.8, 5000), title=title.replace(" (", "\n("))
        axes.set(xlabel="cost, inner gradients", ylabel="relative error", ylim=(0.3 * _FLOOR, 2e6))
    zeros.set_ylim(1e-5, 1e2)
    for name, values in peaks.items():
        _curve(used, _MEMORY_BUDGETS[: len(values)], values, name)
    used.set(xscale="log", yscale="log", title="peak memory on a perceptron", xticks=_MEMORY_BUDGETS, yticks=_PEAKS)
    used.set(xticklabels=_MEMORY_BUDGETS, yticklabels=_PEAKS, ylabel="memory, plain inner gradients")
    used.set(xlabel="steps, iterations, terms or rank")
    used.minorticks_off()
    for axes in grid.flat:
        axes.grid(color="0.92")
    used.set_ylim(1.5, 800)
    zeros.legend(fontsize=8, frameon=False)
    used.legend(fontsize=8, frameon=False, ncols=2, loc="upper left")
    lines = {line.get_label(): line for axes in grid.flat[:4] for line in axes.lines}
    names = [series.name for series in SERIES if series.name in lines]
    handles = [lines[name] for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path, dpi=120, facecolor="white", metadata={"Software": None})
    plt.close(figure)


def _curve(axes: Axes, x: Sequence[float], y: Sequence[float], name: str) -> None:
    """Draw one line, or a single point that stands out."""
    look = _LOOKS[name]
    fill = "white" if look.is_hollow else look.color
    size = 5.0 if look.is_hollow else 4.0 if len(x) > 1 else 9.0
    dashes = look.dashes if len(x) > 1 else ""
    (line,) = axes.plot(x, y, color=look.color, marker=look.marker, linestyle=dashes, linewidth=1.2, label=name)
    line.set(markersize=size, markerfacecolor=fill, zorder=2 if look.is_hollow else 3)


def main() -> None:
    """Measure, print and draw."""
    options = tyro.cli(Options, description=__doc__)
    os.environ |= {"TORCH_CPP_LOG_LEVEL": "ERROR", "KINETO_LOG_LEVEL": "99"}  # the profiler is chatty
    torch.set_num_threads(1)  # so that the numbers do not depend on the machine
    print(describe_machine(_CPU))
    cases = [*(quadratic(condition) for condition in (1.0, 1e2, 1e4)), ridge()]
    points = {case.title: print_case(case, options) for case in cases}
    trained = from_zeros(cases[-1], options)
    peaks = memory(options)
    if options.picture is not None:
        draw(points, trained, peaks, options.picture)


if __name__ == "__main__":
    main()
