"""A comparison as Markdown, LaTeX and CSV."""

import re
from pathlib import Path

from auxo.comparison.differences import difference_tables, spell_verdict
from auxo.comparison.statistics import Difference
from auxo.comparison.summary import Cell, Comparison
from auxo.comparison.tables import notes_of, result_tables, run_table
from auxo.evaluation import Table, to_csv, to_markdown
from auxo.files import write_atomically
from auxo.tasks import Interval

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def write_files(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the comparison into a folder and return the files.

    Raises:
        OutputError: they cannot be written.
    """
    contents = {
        "comparison.md": to_report(comparison),
        "comparison.tex": _latex_document(comparison),
        "comparison.csv": to_long_csv(comparison),
        "comparison-statistics.csv": to_statistics_csv(comparison),
    }
    for name, text in contents.items():
        write_atomically(folder / name, text)
    return [folder / name for name in contents]


def to_report(comparison: Comparison) -> str:
    """Return the comparison as Markdown."""
    parts = [f"# Comparison on {comparison.contents.title}\n", *map(to_markdown, result_tables(comparison))]
    notes = notes_of(comparison)
    if notes:
        parts.append("Notes:\n\n" + "".join(f"* {note}\n" for note in notes))
    differences = difference_tables(comparison)
    if differences:
        parts += ["## Differences\n", *map(to_markdown, differences)]
    return "\n".join([*parts, "## Runs\n", to_markdown(run_table(comparison))])


def to_latex(table: Table, *, label: str) -> str:
    r"""Return a table as LaTeX, for the package booktabs.

    Args:
        table: with text of any characters; those that mean something to LaTeX are escaped.
        label: to refer to it by.

    Example:
        >>> print(to_latex(Table(("a", "b_c"), (("x & y", "1.0 ± 0.5"),), "50 %."), label="t").splitlines()[8])
            x \& y & 1.0 $\pm$ 0.5 \\
    """
    header = " & ".join(map(_escape_latex, table.columns))
    lines = [f"    {' & '.join(map(_escape_latex, line))} \\\\" for line in table.lines]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{_escape_latex(table.caption)}}}",
            f"  \\label{{tab:{label}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"    \toprule",
            f"    {header} \\\\",
            r"    \midrule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def to_long_csv(comparison: Comparison) -> str:
    """Return one row for every finished run, test set and measure of its first head, shown or not.

    Values are unrounded, fractions in percent; the chance is that of the primary measure.
    """
    budget = comparison.contents.flops
    rows = [
        {
            "method": result.method,
            "seed": result.seed,
            "set": split,
            "head": result.head,
            "measure": name,
            "value": measure.shown,
            "unit": measure.unit,
            "higher_is_better": measure.higher_is_better,
            "chance": row.guessing.shown if row.guessing is not None and name == row.primary else None,
            "set_images": row.n,
            "epochs": "+".join(map(str, result.epochs)),
            "flops": result.flops,
            "of_budget": None if result.flops is None or budget is None else result.flops / budget,
            "train_seconds": result.train_seconds,
            "train_images": result.images,
        }
        for result in comparison.results
        for split, row in result.rows.items()
        for name, measure in row.measures.items()
    ]
    return to_csv(rows)


def to_statistics_csv(comparison: Comparison) -> str:
    """Return one row for every shown measure, method and test set with each contrast of it: mean, spread, difference.

    A method that is compared with none has one row without a difference.
    """
    rows = []
    for cell in comparison.cells:
        place = (cell.measure, cell.method, cell.split)
        own = [each for each in comparison.differences if (each.measure, each.method, each.split) == place]
        rows += [_list_statistics(comparison, cell, each) for each in own]
        if not own:
            rows.append(_list_statistics(comparison, cell, None))
    return to_csv(rows)


def _list_statistics(comparison: Comparison, cell: Cell, each: Difference | None) -> dict[str, object]:
    """Return a row of statistics by column."""
    measure = next(measure for measure in comparison.measures if measure.name == cell.measure)
    return {
        "method": cell.method,
        "set": cell.split,
        "measure": cell.measure,
        "seeds": len(cell.values),
        "mean": cell.mean,
        "std": cell.std,
        "baseline": None if each is None else each.baseline,
        "family": None if each is None else "primary" if each.is_primary else "exploratory",
        "pairs": None if each is None else len(each.seeds),
        "groups": None if each is None else each.num_groups,
        "looks": None if each is None else each.looks,
        "difference": None if each is None else each.mean,
        **_split_interval("bootstrap", None if each is None else each.bootstrap),
        **_split_interval("t", None if each is None else each.t),
        **_split_interval("t90", None if each is None else each.t90),
        "margin": None if each is None else each.margin,
        "p": None if each is None else each.p,
        "p_holm": None if each is None else each.p_holm,
        "p_within": None if each is None else each.p_within,
        "p_within_holm": None if each is None else each.p_within_holm,
        "verdict": None if each is None or each.estimate is None else spell_verdict(each, measure),
    }


def _latex_document(comparison: Comparison) -> str:
    """Return all tables for LaTeX, notes as comments."""
    tables = [(table, f"results-{number}") for number, table in enumerate(result_tables(comparison), start=1)]
    tables += [(table, f"differences-{number}") for number, table in enumerate(difference_tables(comparison), start=1)]
    tables.append((run_table(comparison), "runs"))
    notes = "".join(f"% note: {note}\n" for note in notes_of(comparison))
    return "% needs \\usepackage{booktabs}\n" + notes + "\n".join(to_latex(table, label=name) for table, name in tables)


def _escape_latex(text: str) -> str:
    """Return text as LaTeX shows it, minus signs of numbers as such."""
    escaped = "".join(_SPECIAL.get(character, character) for character in text)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)


def _split_interval(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return the ends of an interval by column."""
    low, high = (None, None) if interval is None else interval
    return {f"{name}_low": low, f"{name}_high": high}
