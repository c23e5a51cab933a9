"""The table of options: it is that of the dataclasses, and says of each command what they say."""

import importlib
import json
import runpy
from pathlib import Path

import pytest

from auxo.cli.option_table import PLACE, OptionTable
from auxo.cli.options import parse_options
from auxo.cli.shapes import make_blank, make_shape
from auxo.cli.train import list_options
from auxo.runs.document import load_recipe

SCRIPT = Path(__file__).parents[3] / "scripts" / "write_options.py"


def test_options_json__all_commands_and_recipes__is_what_the_script_writes():
    made = runpy.run_path(str(SCRIPT))["build_table"]()
    shipped = OptionTable.read()
    for key, entry in json.loads(made.to_json())["entries"].items():
        assert shipped.entries.get(key) == entry, f"{key} has changed: run scripts/write_options.py"
    assert PLACE.read_text(encoding="utf-8") == made.to_json(), "a docstring has changed: run scripts/write_options.py"


@pytest.mark.parametrize("key", ["train ossl", "train bissl", "predict", "evaluate"])
@pytest.mark.parametrize("words", [["--help"], ["--unknown", "3"], ["--data", "--device"]])
def test_build_shape__help_and_errors__are_those_of_the_dataclasses(key, words, capsys):
    table = OptionTable.read()
    recipe = key.removeprefix("train ")
    whole = (
        list_options(load_recipe(recipe))
        if recipe != key
        else make_blank(importlib.import_module(f"auxo.cli.{key}").Options)
    )
    said = []
    for shape in (table.build_shape(key), make_shape(whole, {}, shows_names=True, has_help=True)):
        with pytest.raises((Exception, SystemExit)) as stop:
            parse_options(shape, words, command="auxo act", description=table.describe(key))
        said.append((str(stop.value), *capsys.readouterr()))
    assert said[0] == said[1]


def test_list_flags__a_recipe__has_other_names_negations_and_families():
    flags = {flag.name: flag for flag in OptionTable.read().list_flags("train joint_training")}
    assert {"--epochs", "--device", "--training.no-tensorboard", "--no-drop-last", "--data.image-size"} <= flags.keys()
    assert flags["--pretext.name"].family == "pretexts"
    assert flags["--epochs"].value == load_recipe("joint_training").stages[0].epochs
    assert not {"--name", "--start-from", "--no-epochs"} & flags.keys()


def test_list_flags__no_member_of_a_family_yet__is_told():
    absent = [flag.name for flag in OptionTable.read().list_flags("train ossl") if flag.is_absent]
    assert "--pretext" in absent


def test_list_flags__positional_words__are_none():
    names = {flag.name for flag in OptionTable.read().list_flags("predict")}
    assert {"--out", "--batch-size", "--code"} <= names
    assert not {"--model", "--images"} & names
