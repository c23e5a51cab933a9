"""Every scenario's recipe trains, in a small form, from the command line to its table."""

import json

import pytest

SMALL = ["--backbone.name", "lenet5", "--data.scenario", "digits", "--epochs", "1", "--batch-size", "20"]
SMALL += ["--data.augment", "crop", "--training.no-tensorboard", "--runtime.device", "cpu"]
FEW = ["--data.num-train", "60"]
UNEVEN = ["--data.num-train", "200", "--data.imbalance-ratio", "0.1"]

RECIPES = {
    "auxo.methods.supervised:cifar10_long_tailed": UNEVEN,
    "auxo.methods.gssl:cifar10_long_tailed": UNEVEN,
    "auxo.methods.gssl:cifar10_adversarial": [*FEW, "--method.attack.steps", "2"],
    "auxo.methods.gssl:tiny_imagenet": FEW,
    "auxo.methods.gssl:moe1flip": FEW,
    "auxo.methods.gssl:moe1sc": FEW,
    "auxo.methods.gssl:nomoe": FEW,
    "auxo.methods.gssl:lorot": FEW,
    "auxo.methods.gssl:transform_only": FEW,
    "auxo.recipes.auxilearn:recipe": FEW,
    "auxo.recipes.auxilearn:invented": FEW,
    "auxo.methods.fixmatch:cifar10_released": ["--data.num-train", "120", "--data.num-labelled", "60"],
}


QUICK = ("auxo.methods.gssl:cifar10_long_tailed", "auxo.methods.gssl:moe1flip", "auxo.recipes.auxilearn:recipe")


@pytest.mark.parametrize(
    "recipe", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in RECIPES]
)
def test_recipe__in_a_small_form__trains_and_is_measured_everywhere(auxo, tmp_path, recipe):
    answer = auxo("train", recipe, *SMALL, *RECIPES[recipe], "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    splits = {row["split"] for row in rows if row["kind"] == "result"}
    assert {"val", "test", "ood/optdigits", "ood/corrupted-digits"} <= splits
    (end,) = (row for row in rows if row["kind"] == "end")
    assert end["flops"] > 0
