"""Methods side by side: runs at equal compute, and tables over seeds with intervals."""

from auxo.comparison.budget import fit_to_budget, with_epochs
from auxo.comparison.files import to_latex, to_long_csv, to_report, to_statistics_csv, write_files
from auxo.comparison.folder import Contents, MethodEntry, read_contents, write_contents
from auxo.comparison.measures import ShownMeasure, choose_measure
from auxo.comparison.plan import Choice, Grid, plan_grid, require_one_setting
from auxo.comparison.results import Result, read_result, read_results
from auxo.comparison.statistics import Difference, bootstrap_mean, paired_difference, paired_t
from auxo.comparison.summary import Cell, Comparison, compare_results
from auxo.comparison.tables import difference_tables, notes_of, result_tables, run_table

__all__ = [
    "Cell",
    "Choice",
    "Comparison",
    "Contents",
    "Difference",
    "Grid",
    "MethodEntry",
    "Result",
    "ShownMeasure",
    "bootstrap_mean",
    "choose_measure",
    "compare_results",
    "difference_tables",
    "fit_to_budget",
    "notes_of",
    "paired_difference",
    "paired_t",
    "plan_grid",
    "read_contents",
    "read_result",
    "read_results",
    "require_one_setting",
    "result_tables",
    "run_table",
    "to_latex",
    "to_long_csv",
    "to_report",
    "to_statistics_csv",
    "with_epochs",
    "write_contents",
    "write_files",
]
