"""Recipes that say what they are a control of."""

import pytest

from auxo.errors import ConfigError
from auxo.runs.document import find_controlled, load_recipe

OWN = """
from auxo.runs.controls import control_of
from auxo.runs.document import load_recipe


def recipe():
    return load_recipe("rotation")


@control_of("mine")
def off():
    return load_recipe("supervised")
"""


def test_find_controlled__recipes_of_auxo__those_that_switch_the_idea_off():
    assert find_controlled("auxo.methods.gssl:transform_only") == "gssl"
    assert find_controlled("auxo.recipes.segmentation:none") == "segmentation"
    assert find_controlled("auxo.recipes.multi_pretext:joint") == "multi_pretext"
    assert find_controlled("gssl") is None


def test_find_controlled__file_of_the_users__as_its_function_says(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    assert find_controlled(f"{path}:off") == "mine"
    assert find_controlled(str(path)) is None
    assert load_recipe(f"{path}:off") == load_recipe("supervised")
    with pytest.raises(ConfigError, match="a function 'on' in"):
        find_controlled(f"{path}:on")
