"""A model whose weights or outputs are not finite: no command answers with it."""

import pytest

from auxo.files.tensor_file import read_tensor_file, write_tensor_file

COMMANDS = {
    "predict": lambda run, shapes: ["predict", run, shapes],
    "evaluate": lambda run, _: ["evaluate", run],
    "report": lambda run, _: ["report", run],
    "explain": lambda run, _: ["explain", run],
    "estimate": lambda run, shapes: ["estimate", run, shapes],
    "export": lambda run, _: ["export", run],
}


def spoil(path, value, *, first=True):
    """Set one weight, or all, of the network in a file of auxo's."""
    tree, header = read_tensor_file(path)
    name = next(name for name, tensor in tree["weights"].items() if tensor.ndim > 1)
    weights = tree["weights"][name].view(-1)
    weights[: 1 if first else None] = value
    write_tensor_file(path, tree, header)
    return name


@pytest.mark.parametrize("make", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_command__weight_that_is_not_finite__refuses(assert_refused, place, make, value):
    name = spoil(place.run / "model.safetensors", value)
    says = rf"finite weights in .*model.safetensors, got others in {name}"
    assert_refused(*make(place.run, place.shapes), says=says, code=3)


def test_resume__best_weights_that_are_not_finite__refuses(assert_refused, place):
    path = sorted((place.run / "checkpoints").glob("train-0*.safetensors"))[-1]
    name = spoil(path, float("nan"))
    (place.run / "model.safetensors").unlink()
    assert_refused("train", "--resume", place.run, says=f"finite weights in .*, got others in {name}", code=3)


def test_predict__finite_weights_that_overflow__names_the_image_and_writes_nothing(assert_refused, place):
    spoil(place.run / "model.safetensors", 3e38, first=False)
    says = r"finite outputs of .*model.safetensors for .*\.png, got others"
    assert_refused("predict", place.run, place.shapes, says=says, code=3)


def test_predict__export_with_weights_that_are_not_finite__refuses(assert_refused, auxo, place):
    assert auxo("export", place.run, "--format", "safetensors", "--out", "made").code == 0
    spoil(place.root / "made" / "model.safetensors", float("nan"))
    assert_refused("predict", "made", place.shapes, says="finite weights in made/model.safetensors", code=3)


def test_train__first_weights_that_are_not_finite__refuses(assert_refused, place):
    name = spoil(place.run / "model.safetensors", float("nan"))
    words = place.train("--backbone.weights", place.run / "model.safetensors")
    assert_refused(*words, says=rf"finite weights in .*, got others in {name.removeprefix('backbone.')}", code=3)
