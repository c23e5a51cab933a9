"""The tables of a comparison."""

from collections.abc import Sequence
from statistics import fmean

from auxo.comparison.decisions import LEVEL
from auxo.comparison.declaration import ELSEWHERE
from auxo.comparison.measures import ShownMeasure
from auxo.comparison.results import CLASS_MEASURES, Result, sets_of, values_of
from auxo.comparison.summary import Comparison
from auxo.evaluation import Table, begin_sentence, title_measure
from auxo.tasks import ANSWERS_MEASURE

_APART = 0.1
_MISSING = "-"


def result_tables(comparison: Comparison) -> list[Table]:
    """Return a table of methods by test sets for every measure, then one of classes where accuracy is among them.

    The first also says what a run of each cost.
    """
    made = [
        _tabulate_results(comparison, measure, has_costs=not number)
        for number, measure in enumerate(comparison.measures)
    ]
    return made + _tabulate_classes(comparison)


def _tabulate_classes(comparison: Comparison) -> list[Table]:
    """Return the table of what hides behind accuracy: the mean of the classes, and the worst of them."""
    if ANSWERS_MEASURE not in {measure.name for measure in comparison.measures}:
        return []
    own = [name for name in CLASS_MEASURES if name not in {measure.name for measure in comparison.measures}]
    found = {name: values_of(comparison.results, name) for name in own}
    have = {split for rows in found.values() for row in rows.values() for split in row}
    splits = [split for split in sets_of(comparison.results) if split in have]
    if not splits:
        return []
    lines = []
    for method in comparison.contents.methods:
        cells = []
        for split in splits:
            for name in own:
                values = [row[split] for (each, _), row in found[name].items() if each == method and split in row]
                cells.append(f"{fmean(values):.1f}" if values else _MISSING)
        lines.append((method, *cells))
    columns = ("method", *(f"{split}: {title_measure(name)}" for split in splits for name in own))
    caption = (
        "Accuracy of classes in percent, mean over seeds: macro is the mean of the classes, however many images each "
        "has; the worst class is low by chance alone where classes have few images."
    )
    return [Table(columns, tuple(lines), caption)]


def _tabulate_results(comparison: Comparison, measure: ShownMeasure, *, has_costs: bool) -> Table:
    """Return the table of one measure."""
    splits = comparison.sets_with(measure.name)
    cells = {(cell.method, cell.split): cell for cell in comparison.cells if cell.measure == measure.name}
    lines = []
    for method, entry in comparison.contents.methods.items():
        found = [cells.get((method, split)) for split in splits]
        values = tuple(_MISSING if cell is None else measure.spell_spread(list(cell.values.values())) for cell in found)
        parameters = _MISSING if entry.num_parameters is None else f"{entry.num_parameters:,}"
        costs = (*_make_cost_table(comparison.results_of(method), comparison.contents.flops), parameters)
        lines.append((method, *values, *(costs if has_costs else ())))
    columns = ("operations", "of budget", "seconds", "images", "parameters") if has_costs else ()
    return Table(
        ("method", *splits, *columns), tuple(lines), _write_caption(comparison, measure, splits, has_costs=has_costs)
    )


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
    notes += _note_pairs(comparison)
    notes += _note_looks(comparison)
    notes += comparison.ungrouped
    notes += _note_doubts(comparison)
    notes += _list_absences(comparison)
    notes += _told_by_the_task(comparison)
    if contents.budget == "recipe":
        notes.append("compute is not equal: every method is as long as its recipe says")
    elif contents.flops is not None:
        notes += _note_uneven_costs(comparison, contents.flops)
    return notes


def _note_pairs(comparison: Comparison) -> list[str]:
    """Return notes on contrasts of which a method lacks seeds that the other has."""
    own = {name: {each.seed for each in comparison.results_of(name)} for name in comparison.contents.methods}
    notes: dict[str, None] = {}
    for each in comparison.differences:
        if set(each.seeds) != own[each.method] | own[each.baseline]:
            listed = f"seed{'s' if len(each.seeds) > 1 else ''} {', '.join(map(str, each.seeds))}"
            notes[f"{each.method} and {each.baseline} are compared on {listed}, which both have"] = None
    declared = () if comparison.contents.declaration is None else comparison.contents.declaration.contrasts
    for base in dict.fromkeys(each.baseline for each in declared):
        names = [each.method for each in declared if each.baseline == base and own.get(each.method) and own.get(base)]
        apart = [name for name in names if not own[name] & own[base]]
        if apart:
            notes[f"no seed in common with {base}, so not compared with it: {', '.join(apart)}"] = None
    return list(notes)


def _note_doubts(comparison: Comparison) -> list[str]:
    """Return for each method how many of its runs raise doubts, with the first of them."""
    notes = []
    for method in comparison.contents.methods:
        own = comparison.results_of(method)
        doubted = [result for result in own if result.doubts]
        if doubted:
            first = doubted[0]
            count = f"{len(doubted)} of {len(own)} runs of {method} raise{'s' if len(doubted) == 1 else ''} doubts"
            notes.append(f"{count}; {method}-seed{first.seed}: {first.doubts[0]}")
    return notes


def _note_looks(comparison: Comparison) -> list[str]:
    """Return notes on tables that were looked at before, and on a primary endpoint that is not shown."""
    notes: dict[str, None] = {}
    declared = comparison.contents.declaration
    planned = 1 if declared is None else declared.looks
    for each in comparison.differences:
        if each.looks > planned:
            notes[
                f"{each.method} against {each.baseline}: table {each.looks} of other seeds, so tested at "
                f"{LEVEL:g} / {each.looks}; stopping at the first verdict errs more often, so plan tables with --looks"
            ] = None
    if planned > 1:
        notes[f"{planned} tables were planned, so each is tested at {LEVEL:g} / {planned}"] = None
    if declared is not None and declared.contrasts and comparison.results and comparison.endpoint is None:
        where = declared.split or "the default set"
        notes[f"the primary endpoint, {declared.measure} on {where}, is not in these tables"] = None
    return list(notes)


def _list_absences(comparison: Comparison) -> list[str]:
    """Return notes on finished runs that lack a measure on a set where others have it."""
    notes = []
    for measure in comparison.measures:
        absent = [
            f"{result.method}-seed{result.seed} on {split}"
            for split in comparison.sets_with(measure.name)
            for result in comparison.results
            if split in result.rows and measure.name not in result.rows[split].measures
        ]
        if absent:
            notes.append(f"no {measure.title} of {', '.join(absent)}")
    return notes


def _told_by_the_task(comparison: Comparison) -> list[str]:
    """Return what the task notes on the test sets, each once, where a measure beside the primary one is shown."""
    primaries = {result.primary for result in comparison.results}
    if all(measure.name in primaries for measure in comparison.measures):
        return []
    told: dict[str, dict[str, None]] = {}
    for result in comparison.results:
        for split, row in result.rows.items():
            for note in row.notes:
                told.setdefault(note, {})[split] = None
    return [f"{', '.join(splits)}: {note}" for note, splits in told.items()]


def _note_uneven_costs(comparison: Comparison, budget: float) -> list[str]:
    """Return notes on methods whose runs cost more or less than the budget by more than a tenth."""
    notes = []
    for method in comparison.contents.methods:
        ratios = [result.flops / budget for result in comparison.results_of(method) if result.flops is not None]
        apart = [ratio for ratio in ratios if abs(ratio - 1) > _APART]
        if apart:
            why = "epochs are whole numbers, at least one; under another --out the budget is chosen anew"
            notes.append(f"{method} takes {apart[0]:.2f} times the budget: {why}")
    return notes


def _write_caption(comparison: Comparison, measure: ShownMeasure, splits: Sequence[str], *, has_costs: bool) -> str:
    """Return the sentences below a table of results."""
    contents, results = comparison.contents, comparison.results
    heads = {result.head for result in results}
    head = f"the head {heads.pop()}" if len(heads) == 1 else "the first head of each"
    counts = sorted({len(comparison.results_of(method)) for method in contents.methods})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    title = f"{begin_sentence(measure.title)}{measure.in_unit} of {head} ({measure.better})"
    sentences = [f"{title}, mean ± sample standard deviation over seeds ({seeds})"]
    if measure.chances:
        ends = dict.fromkeys(map(measure.spell, (measure.chances[0], measure.chances[-1])))
        sentences.append(f"Guessing would reach {' to '.join(ends)}")
    if ELSEWHERE in splits:
        sentences.append(f"{ELSEWHERE.capitalize()}: over the sets ood/*")
    if has_costs:
        budget = "none" if contents.flops is None else f"{contents.flops:.4g} floating-point operations a run"
        sentences += [
            f"Checkpoint: {_describe_rules(results)}",
            f"Budget: {budget}{';' if contents.flops is None else ','} {contents.chosen}",
            "Operations, seconds (wall-clock, longer where the machine did other things too) and images (training "
            "images seen) are those of a run, mean over seeds",
        ]
    return ". ".join(sentences) + "."


def _describe_rules(results: Sequence[Result]) -> str:
    """Return the rule by which all runs kept their weights, or whose followed which."""
    methods: dict[str, dict[str, None]] = {}
    for result in results:
        methods.setdefault(result.selection, {})[result.method] = None
    if len(methods) == 1:
        return next(iter(methods))
    told = "; ".join(f"{rule} ({', '.join(names)})" for rule, names in methods.items())
    return f"as each recipe says: {told}"


def _make_cost_table(results: Sequence[Result], budget: float | None) -> tuple[str, str, str, str]:
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
