"""The tables of a comparison."""

from collections.abc import Sequence
from statistics import fmean, stdev

from auxo.comparison.results import ELSEWHERE, Result
from auxo.comparison.summary import Comparison
from auxo.evaluation import Interval, Table

__all__ = ["accuracy_table", "difference_table", "notes_of", "run_table"]

_APART = 0.1
_MISSING = "-"


def accuracy_table(comparison: Comparison) -> Table:
    """Return the table of methods by test sets, with what a run of each cost."""
    cells = {(cell.method, cell.split): cell for cell in comparison.cells}
    lines = []
    for method, entry in comparison.contents.methods.items():
        results = comparison.results_of(method)
        found = [cells.get((method, split)) for split in comparison.splits]
        lines.append(
            (
                method,
                *(_MISSING if cell is None else _spread(list(cell.values.values())) for cell in found),
                *_cost(results, comparison.contents.flops),
                _MISSING if entry.num_parameters is None else f"{entry.num_parameters:,}",
            )
        )
    columns = ("method", *comparison.splits, "operations", "of budget", "seconds", "images", "parameters")
    return Table(columns, tuple(lines), _caption(comparison))


def difference_table(comparison: Comparison) -> Table | None:
    """Return the table of differences to the baseline, or ``None`` where no method has two seeds in common with it."""
    lines = tuple(
        (
            each.method,
            each.split,
            str(len(each.seeds)),
            f"{each.mean:+z.1f}",
            _interval(each.bootstrap),
            _interval(each.t),
            _p(each.p),
            _p(each.p_holm),
        )
        for each in comparison.differences
        if len(each.seeds) > 1
    )
    if not lines:
        return None
    columns = ("method", "set", "pairs", "difference", "95 % bootstrap", "95 % t", "p", "p (Holm)")
    caption = (
        f"Accuracy less that of {comparison.baseline} under the same seed, in points: mean, and 95 % intervals of the "
        "mean by the bootstrap (BCa) and by Student's t for pairs. Of few seeds the bootstrap interval is too narrow. "
        f"p: of the paired t-test, and corrected by Holm's method for the {len(lines)} differences of this table."
    )
    return Table(columns, lines, caption)


def run_table(comparison: Comparison) -> Table:
    """Return the table of runs with what each cost."""
    budget = comparison.contents.flops
    lines = tuple(
        (
            f"{result.method}-seed{result.seed}",
            "+".join(map(str, result.epochs)),
            _MISSING if result.flops is None else f"{result.flops:.4g}",
            _MISSING if result.flops is None or budget is None else f"{result.flops / budget:.3f}",
            f"{result.train_seconds:.1f}",
            f"{result.images:,}",
        )
        for result in comparison.results
    )
    caption = "Floating-point operations of training, as measured, and their ratio to the budget; epochs of each stage."
    return Table(("run", "epochs", "operations", "of budget", "seconds", "images"), lines, caption)


def notes_of(comparison: Comparison) -> list[str]:
    """Return what a reader of the tables should know, a sentence each."""
    notes = []
    contents = comparison.contents
    counts = {method: len(comparison.results_of(method)) for method in contents.methods}
    if comparison.missing:
        names = ", ".join(f"{method}-seed{seed}" for method, seed in comparison.missing)
        notes.append(f"not finished, and left out: {names}")
    few = [method for method, count in counts.items() if count < 2]
    if few:
        notes.append(f"fewer than two seeds of {', '.join(few)}: no spread and no intervals")
    if len(set(counts.values())) > 1:
        notes.append("seeds: " + ", ".join(f"{count} of {method}" for method, count in counts.items()))
    paired = {(each.method, each.seeds) for each in comparison.differences}
    own = {method: {result.seed for result in comparison.results_of(method)} for method in contents.methods}
    for method, seeds in sorted(paired):
        if set(seeds) != own[method] | own[comparison.baseline]:
            listed = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
            notes.append(f"{method} and {comparison.baseline} are compared on {listed}, which both have")
    apart = [name for name in contents.methods if own[name] and not own[name] & own[comparison.baseline]]
    if apart:
        notes.append(f"no seed in common with {comparison.baseline}, so not compared with it: {', '.join(apart)}")
    if contents.budget == "recipe":
        notes.append("compute is not equal: every method is as long as its recipe says")
    elif contents.flops is not None:
        notes += _uneven(comparison, contents.flops)
    return notes


def _uneven(comparison: Comparison, budget: float) -> list[str]:
    """Return notes on methods whose runs cost more or less than the budget by more than a tenth."""
    notes = []
    for method in comparison.contents.methods:
        ratios = [result.flops / budget for result in comparison.results_of(method) if result.flops is not None]
        apart = [ratio for ratio in ratios if abs(ratio - 1) > _APART]
        if apart:
            why = "epochs are whole numbers, at least one; under another --out the budget is chosen anew"
            notes.append(f"{method} takes {apart[0]:.2f} times the budget: {why}")
    return notes


def _caption(comparison: Comparison) -> str:
    """Return the sentences below the table of accuracies."""
    contents = comparison.contents
    heads = {result.method: result.head for result in comparison.results}
    named = set(heads.values())
    head = f"the class head {named.pop()}" if len(named) == 1 else "the first class head of each"
    counts = sorted({len(comparison.results_of(method)) for method in contents.methods})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    selections = {result.selection for result in comparison.results}
    chosen = {
        frozenset({None}): "last epoch; nothing was selected",
        frozenset({"val"}): "best on val",
    }.get(frozenset(selections), "last epoch, or best on val, as each recipe says")
    if contents.flops is None:
        budget = f"Budget: none; {contents.chosen}"
    else:
        budget = f"Budget: {contents.flops:.4g} floating-point operations a run, {contents.chosen}"
    sentences = [
        f"Accuracy in percent of {head}, mean ± sample standard deviation over seeds ({seeds})",
        *([f"{ELSEWHERE.capitalize()}: over the sets ood/*"] if ELSEWHERE in comparison.splits else []),
        f"Checkpoint: {chosen}",
        budget,
        "Operations, seconds (wall-clock, longer where the machine did other things too) and images (training images "
        "seen) are those of a run, mean over seeds",
    ]
    return ". ".join(sentences) + "."


def _cost(results: Sequence[Result], budget: float | None) -> tuple[str, str, str, str]:
    """Return operations, their ratio to the budget, seconds and images of a run, mean over seeds."""
    if not results:
        return (_MISSING,) * 4
    counted = [result.flops for result in results if result.flops is not None]
    flops = fmean(counted) if len(counted) == len(results) else None
    return (
        _MISSING if flops is None else f"{flops:.3g}",
        _MISSING if flops is None or budget is None else f"{flops / budget:.2f}",
        f"{fmean(result.train_seconds for result in results):.1f}",
        f"{round(fmean(result.images for result in results)):,}",
    )


def _spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation, or one value alone."""
    return f"{values[0]:.1f}" if len(values) == 1 else f"{fmean(values):.1f} ± {stdev(values):.1f}"


def _interval(interval: Interval | None) -> str:
    """Return an interval of points."""
    return _MISSING if interval is None else f"[{interval.low:+z.1f}, {interval.high:+z.1f}]"


def _p(value: float | None) -> str:
    """Return a p-value."""
    return _MISSING if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
