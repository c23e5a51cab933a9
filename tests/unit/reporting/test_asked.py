"""What a run is held against to say which of its options were changed."""

from dataclasses import replace

import pytest

from auxo.reporting.sections.asked import find_default
from auxo.runs.document import load_recipe
from auxo.runs.experiment import named_options


@pytest.mark.parametrize("recipe", ["finetune", "supervised", "rotation", "segmentation", "bissl"])
def test_find_default__a_recipe_with_few_changes__is_held_against_that_recipe(recipe):
    config = load_recipe(recipe)
    changed = replace(config, data=replace(config.data, train="photos", val_fraction=0.2), seed=3)
    found = find_default(changed)
    assert found.recipe in (recipe, {"rotation": "joint_training"}.get(recipe))
    own = {name: str(option.value) for name, option in named_options(changed).items()}
    changes = {name for name in ("data.train", "data.val-fraction", "seed") if found.options[name] != own[name]}
    assert changes == {"data.train", "data.val-fraction", "seed"}
    assert found.options["epochs" if len(config.stages) == 1 else f"{config.stages[0].name}.epochs"] == str(
        config.stages[0].epochs
    )


def test_find_default__stages_of_no_recipe__the_defaults_of_its_parts():
    config = load_recipe("pretrain")
    first, second = config.stages
    found = find_default(replace(config, stages=(replace(first, name="other"), replace(second, start_from="other"))))
    assert found.recipe == ""
    assert found.options["other.batch-size"] == "64"
