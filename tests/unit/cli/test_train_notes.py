"""What ``auxo train`` says of numbers that a recipe brings along, when the images are the user's own."""

from dataclasses import replace

import pytest

from auxo.cli.train import describe_numbers, with_options
from auxo.registry import entries
from auxo.runs.document import load_recipe

RECIPES = [*entries("recipes"), *entries("methods"), "auxo.recipes.auxilearn:pet_released"]
CUT = {"bissl", "fixmatch", "multi_pretext", "pretrain", "auxo.recipes.auxilearn:pet_released"}


@pytest.mark.parametrize("recipe", dict.fromkeys(RECIPES))
def test_describe_numbers__images_of_ones_own__a_recipe_that_uses_a_part_says_so(recipe):
    config = load_recipe(recipe)
    own = replace(config.data, scenario="digits", train="photos")
    found = describe_numbers(recipe, own, ["--data.train", "photos"])
    assert bool(found) == (recipe in CUT)
    assert not describe_numbers(recipe, config.data, [])
    typed = ["--train", "photos", "--data.num-labelled=9", "--data.num_train", "9"]
    assert not describe_numbers(recipe, own, typed)
    assert all(f"the recipe {recipe} " in note for note in found)


def test_describe_numbers__all_that_it_names__uses_all():
    words = ["--data.train", "photos"]
    data = with_options(load_recipe("pretrain"), words, command="auxo train pretrain").data
    (note,) = describe_numbers("pretrain", data, words)
    assert note == (
        "the recipe pretrain uses the labels of 250 of your images: --data.num-labelled N says another number, None all"
    )
    data = with_options(load_recipe("pretrain"), [*words, "--data.num-labelled", "None"], command="x").data
    assert data.num_labelled is None
