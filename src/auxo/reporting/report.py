"""A report of finished runs: collected, computed, and put on one page."""

from collections.abc import Sequence

import auxo
from auxo.evaluation import title_measure
from auxo.reporting.blocks import Page
from auxo.reporting.colours import run_styles
from auxo.reporting.judgement import Judgement
from auxo.reporting.run_record import RunRecord, grouped
from auxo.reporting.sections import (
    answers_section,
    asked_section,
    attention_section,
    confusion_section,
    cost_section,
    curves_section,
    exhibits_section,
    gates_section,
    metrics_section,
    points_section,
    pretext_section,
    reliability_section,
    results_section,
    shift_section,
)
from auxo.reporting.sections.heads import describe_guessing
from auxo.reporting.sections.words import counted, listed
from auxo.runs.results import EvaluationRow


def build_page(runs: Sequence[RunRecord], judgements: Sequence[Judgement]) -> Page:
    """Return the report of some finished runs.

    Args:
        runs: at least one, of different names.
        judgements: one per run, from :func:`auxo.reporting.judge`.
    """
    groups = grouped(runs)
    styles = run_styles(groups)
    ordered = [run for members in groups for run in members]
    by_name = {run.name: judgement for run, judgement in zip(runs, judgements, strict=True)}
    judged = [by_name[run.name] for run in ordered]
    sections = [
        asked_section(ordered, judged),
        results_section(groups, styles),
        shift_section(ordered, judged, styles),
        curves_section(ordered, styles),
        gates_section(ordered),
        metrics_section(ordered, styles),
        answers_section(ordered, judged),
        confusion_section(ordered, judged),
        reliability_section(ordered, judged, styles),
        pretext_section(ordered, styles),
        points_section(ordered, judged),
        attention_section(ordered, judged),
        exhibits_section(ordered),
        cost_section(ordered, judged, styles),
    ]
    return Page(
        title=_write_title(ordered),
        summary=_summarise_runs(ordered),
        sections=[section for section in sections if section is not None],
        made_with=f"Made by auxo {auxo.__version__} from records and weights; the page asks no server for anything.",
    )


def _write_title(runs: Sequence[RunRecord]) -> str:
    """Return methods, data and seeds."""
    methods = listed(list(dict.fromkeys(run.methods for run in runs)), most=3)
    data = listed(list(dict.fromkeys(run.config.data.train or run.config.data.scenario for run in runs)), most=2)
    seeds = sorted({run.config.seed for run in runs})
    counts = f"{counted(len(runs), 'run')}, " if len(runs) > 1 else ""
    return f"{methods} on {data}: {counts}seed{'s' if len(seeds) > 1 else ''} {listed([str(seed) for seed in seeds])}"


def _summarise_runs(runs: Sequence[RunRecord]) -> list[str]:
    """Return the first thing to know, a sentence for each primary measure: what the runs achieved by it."""
    found: dict[tuple[str, str], list[tuple[EvaluationRow, str]]] = {}
    for run in runs:
        rows = {row.split: row for row in run.history.first_head()}
        row = rows.get("test", rows.get("val"))
        if row is not None:
            found.setdefault((row.primary, row.main.unit), []).append((row, run.name))
    if not found:
        return ["No run has a head that predicts: the page shows records and features."]
    return [_summarise_rows(pairs) for pairs in found.values()]


def _summarise_rows(found: Sequence[tuple[EvaluationRow, str]]) -> str:
    """Return what the rows of some runs say of one measure.

    Args:
        found: at least one row, each with the name of its run.
    """
    first = found[0][0]
    what, chance = title_measure(first.primary), describe_guessing([row for row, _ in found])
    if len(found) == 1:
        return f"The {what} on {first.split} is {first.main.describe()}{chance}."
    ordered = sorted(found, key=lambda pair: pair[0].main.value)
    if len({row.chance for row, _ in found}) == 1:
        ends = [f"{row.main.describe()} ({name}, {row.split})" for row, name in (ordered[0], ordered[-1])]
        return f"The {what} of the runs is between {' and '.join(ends)}{chance}."
    each = [f"{row.main.describe()}{describe_guessing([row])} ({name}, {row.split})" for row, name in ordered]
    return f"The {what} of the runs is {listed(each)}."
