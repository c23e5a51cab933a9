"""Tables on the terminal."""

import sys

from rich.console import Console
from rich.text import Text

from auxo.cli.words import escape_controls
from auxo.evaluation import Table, to_rich

_WIDTH_OF_PIPES = 160


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal, or as a pipe should hold; of an empty one its caption."""
    lines = tuple(tuple(map(escape_controls, line)) for line in table.lines)
    table = Table(tuple(map(escape_controls, table.columns)), lines, escape_controls(table.caption))
    rendered = to_rich(table) if table.lines else Text(table.caption)
    Console(width=None if sys.stdout.isatty() else _WIDTH_OF_PIPES).print(rendered)
