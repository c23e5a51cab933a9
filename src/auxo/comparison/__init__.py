"""Methods side by side: runs at equal compute, and tables over seeds with intervals."""

from auxo.comparison.budget import fit_to_budget, with_epochs
from auxo.comparison.decisions import (
    Decisions,
    Estimate,
    Sensitivity,
    decide,
    estimate_pairs,
    smallest_difference,
)
from auxo.comparison.declaration import (
    Contrast,
    Declaration,
    Question,
    count_looks,
    declare,
    margin_of,
    read_margins,
)
from auxo.comparison.differences import difference_tables, spell_verdict
from auxo.comparison.files import to_latex, to_long_csv, to_report, to_statistics_csv, write_files
from auxo.comparison.folder import Contents, MethodEntry, read_contents, write_contents
from auxo.comparison.groups import GroupedDeltas, bootstrap_groups, estimate_groups
from auxo.comparison.measures import ShownMeasure, choose_measure
from auxo.comparison.plan import Choice, Grid, plan_grid, require_one_setting
from auxo.comparison.results import Result, read_result, read_results
from auxo.comparison.statistics import (
    Difference,
    bootstrap_mean,
    find_sensitivity,
    judge_differences,
    paired_difference,
    paired_t,
)
from auxo.comparison.summary import Cell, Comparison, compare_results
from auxo.comparison.tables import notes_of, result_tables, run_table

__all__ = [
    "Cell",
    "Choice",
    "Comparison",
    "Contents",
    "Contrast",
    "Decisions",
    "Declaration",
    "Difference",
    "Estimate",
    "Grid",
    "GroupedDeltas",
    "MethodEntry",
    "Question",
    "Result",
    "Sensitivity",
    "ShownMeasure",
    "bootstrap_groups",
    "bootstrap_mean",
    "choose_measure",
    "compare_results",
    "count_looks",
    "decide",
    "declare",
    "difference_tables",
    "estimate_groups",
    "estimate_pairs",
    "find_sensitivity",
    "fit_to_budget",
    "judge_differences",
    "margin_of",
    "notes_of",
    "paired_difference",
    "paired_t",
    "plan_grid",
    "read_contents",
    "read_margins",
    "read_result",
    "read_results",
    "require_one_setting",
    "result_tables",
    "run_table",
    "smallest_difference",
    "spell_verdict",
    "to_latex",
    "to_long_csv",
    "to_report",
    "to_statistics_csv",
    "with_epochs",
    "write_contents",
    "write_files",
]
