#!/usr/bin/env python3
"""Write the table that help is shown from, ``src/auxo/cli/options.json``, after an option or its docstring has changed.

.venv/bin/python scripts/write_options.py
"""

import importlib

from auxo.cli.changes import join_members
from auxo.cli.entry import COMMANDS
from auxo.cli.label_quality import BOUNDS
from auxo.cli.option_table import PLACE, OptionTable
from auxo.cli.shapes import make_blank, make_shape
from auxo.cli.train import DESCRIPTION, list_options
from auxo.options import find_member
from auxo.pretexts.labellers import LabellerConfig
from auxo.registry import entries
from auxo.runs.document import load_recipe


def build_table() -> OptionTable:
    """Return the table of all commands that need torch, and of auxo's own recipes."""
    table = OptionTable()
    for name in sorted(COMMANDS.keys() - {"train", "list"}):
        command = importlib.import_module(f"auxo.cli.{name.replace('-', '_')}")
        blank, shows_names = make_blank(command.Options), True
        if name == "label-quality":
            bounds = {bound: find_member(LabellerConfig, bound)() for bound in BOUNDS}
            blank, shows_names = join_members(command.Options, option="labeller", members=bounds), False
        shape = make_shape(blank, {}, shows_names=shows_names, has_help=True)
        table.add(name, shape, description=command.DESCRIPTION)
    for recipe in (*entries("methods"), *entries("recipes")):
        shape = make_shape(list_options(load_recipe(recipe)), {}, shows_names=True, has_help=True)
        table.add(f"train {recipe}", shape, description=DESCRIPTION)
    return table


if __name__ == "__main__":
    PLACE.write_text(build_table().to_json(), encoding="utf-8")
