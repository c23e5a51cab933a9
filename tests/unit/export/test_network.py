"""The deployed network: what its graph answers, holds and refuses, in memory and as files that run without auxo."""

import importlib.util
import io
import json
import zipfile
from dataclasses import replace
from math import isnan
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auxo.data import InputPipeline
from auxo.errors import CheckpointError, ConfigError
from auxo.export import (
    Description,
    capture,
    load_network,
    open_onnx,
    open_program,
    published,
    to_onnx,
    to_pt2,
    write_network,
)
from auxo.export.network import difference
from auxo.registry.outside import call_outside
from auxo.runs import Networks
from auxo.runs.document import to_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import TrainedModel
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target

PIXELS = Path(__file__).parents[2] / "outside" / "pixels.py"

CASES = {
    "supervised-lenet5": ("supervised", "lenet5"),
    "ossl-resnet8": ("ossl", "resnet8"),
    "gssl-wrn_10_1": ("gssl", "wrn_10_1"),
    "fixmatch-lenet5": ("fixmatch", "lenet5"),
}
BATCHES = (1, 3, 7)
has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not has_onnx, reason="onnx, onnxscript or onnxruntime is missing (extra auxo[onnx])")


def probabilities(model, images):
    """What the model says of images in [0, 1], by its own pipeline."""
    inputs = (images - model.pipeline.mean.view(-1, 1, 1)) / model.pipeline.std.view(-1, 1, 1)
    with torch.no_grad():
        return model.method.predict(inputs).softmax(dim=1)


@pytest.fixture(scope="module")
def models(make_model):
    return {name: make_model(*case) for name, case in CASES.items()}


@pytest.fixture(scope="module")
def programs(models):
    return {name: capture(model) for name, model in models.items()}


@pytest.fixture(scope="module")
def folder(models, programs, tmp_path_factory):
    """The networks as .pt2 and .onnx files, with images and the answers of auxo."""
    root = tmp_path_factory.mktemp("exported")
    for name, model in models.items():
        description = Description.of(model)
        if has_onnx:
            (root / f"{name}.onnx").write_bytes(to_onnx(programs[name], description))
        (root / f"{name}.pt2").write_bytes(to_pt2(programs[name], description))
        tensors = {}
        for batch in BATCHES:
            images = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
            tensors |= {f"images{batch}": images, f"answers{batch}": probabilities(model, images)}
        save_file(tensors, root / f"{name}.answers")
    return root


@pytest.mark.parametrize("name", CASES)
def test_capture__every_batch_size__answers_as_predict_does(name, models, programs):
    network = programs[name].module()
    for batch in BATCHES:
        images = torch.rand(batch, 3, 32, 32)
        answers = network(images).softmax(dim=1)
        assert answers.shape == (batch, 3)
        torch.testing.assert_close(answers, probabilities(models[name], images), rtol=0, atol=1e-5)


def test_capture__method_with_other_heads__keeps_the_weights_that_predict(programs):
    names = set(programs["ossl-resnet8"].state_dict)
    assert {"method.semantic.weight", "method.backbone.convolution.weight", "mean", "std"} <= names
    assert not [name for name in names if "auxiliary" in name or "pretext" in name or "num_batches" in name]
    assert all(name.startswith(("method.averaged.", "mean", "std")) for name in programs["fixmatch-lenet5"].state_dict)


def test_capture__model__stays_as_it_was(make_model):
    model = make_model("supervised", "lenet5")
    before = {name: tensor.clone() for name, tensor in model.method.state_dict().items()}
    model.method.to(memory_format=torch.channels_last)
    capture(model)
    assert model.method.backbone.convolution2.weight.is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.requires_grad for parameter in model.method.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.method.state_dict().items())


def test_capture__weights_that_are_not_finite__is_refused(make_model):
    model = make_model("supervised", "lenet5")
    with torch.no_grad():
        model.method.semantic.bias.fill_(torch.nan)
    with pytest.raises(ConfigError, match="probabilities that differ by nan"):
        capture(model)


class Depth(Classification):
    """One number for every image, which is a quantity."""

    targets = (Target("depth"),)


class Quantity(torch.nn.Linear):
    """A head of one output whose answer differs under tracing."""

    def forward(self, features):
        answers = super().forward(features)
        return answers * 1.5 if torch.compiler.is_exporting() else answers


@pytest.mark.parametrize("kind", [torch.nn.Linear, Quantity])
def test_capture__one_number_per_image__is_compared_as_it_is(kind, make_model):
    model = make_model("supervised", "lenet5")
    model.method.semantic = kind(84, 1)
    model = replace(model, task=Depth((), 3, 32, 32))
    if kind is torch.nn.Linear:
        assert capture(model).module()(torch.rand(4, 3, 32, 32)).shape == (4, 1)
        return
    with pytest.raises(ConfigError, match=r"a trace that answers as the model does, got outputs that differ by 0\.5"):
        capture(model)


def test_difference__outputs_that_are_no_scores__is_relative_to_each():
    expected = torch.tensor([[1000.0, 0.01], [-2000.0, 0.02]])
    found = torch.tensor([[1000.0, 0.01], [-2001.0, 0.0201]])
    assert difference(found, expected, has_scores=False) == pytest.approx(0.005, rel=1e-3)
    assert difference(expected, expected, has_scores=False) == 0
    nothing = torch.zeros(2, 1)
    assert difference(nothing, nothing, has_scores=False) == 0
    assert difference(nothing + 1e-3, nothing, has_scores=False) > 1
    assert isnan(difference(nothing * torch.nan, nothing, has_scores=False))
    shifted = torch.tensor([[1.0, 2.0], [3.0, 3.0]])
    assert difference(shifted + 5, shifted, has_scores=True) < 1e-6


def test_load_network__task_outside_auxo__keeps_its_name(tmp_path):
    config = call_outside(f"{PIXELS}:recipe", ExperimentConfig)
    task = config.task.kind()(("ground", "square", "stripe"), 3, 16, 16)
    method = config.stages[0].method.build(Networks(config.backbone, task, seed=0))
    pipeline = InputPipeline(torch.full((3,), 0.5), torch.full((3,), 0.25), image_shape=(3, 16, 16))
    model = TrainedModel(method.eval(), pipeline, task, {}, tmp_path, config.task.name)
    write_network(tmp_path, capture(model), model, document=published(to_json(config)))
    place = tmp_path / "config.json"
    place.write_text(place.read_text(), encoding="utf-16")  # as an editor may have saved it
    again = load_network(config, tmp_path, runtime=Runtime(RuntimeConfig(device="cpu"), torch.device("cpu")))
    assert again.task_name == "pixels.py:PixelClasses"
    assert Description.of(again) == Description.of(model)


def test_capture__decision_on_values__is_refused_in_one_line(make_model):
    model = make_model("supervised", "lenet5")

    class Undecided(torch.nn.Linear):
        def forward(self, features):
            return super().forward(features if features.sum() > 0 else -features)

    model.method.semantic = Undecided(84, 3)
    with pytest.raises(ConfigError, match=r"a network that torch\.export can trace") as error:
        capture(model)
    assert len(str(error.value).splitlines()) == 1


def test_pt2__plain_torch_in_another_process__answers_as_predict_does(folder, run_apart):
    program = (
        "import pathlib, torch\n"
        "from safetensors.torch import load_file\n"
        "for path in sorted(pathlib.Path('.').glob('*.pt2')):\n"
        "    network = torch.export.load(path).module()\n"
        "    expected = load_file(path.with_suffix('.answers'))\n"
        f"    for batch in {BATCHES}:\n"
        "        found = network(expected[f'images{batch}']).softmax(dim=1)\n"
        "        print(path.stem, float((found - expected[f'answers{batch}']).abs().max()))\n"
    )
    lines = [line.split() for line in run_apart(program, folder).splitlines()]
    assert {name for name, _ in lines} == set(CASES)
    assert len(lines) == len(CASES) * len(BATCHES)
    assert max(float(gap) for _, gap in lines) <= 1e-5


def test_pt2__file__holds_no_pickle(folder):
    for path in folder.glob("*.pt2"):
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        configs = [json.loads(value) for name, value in contents.items() if name.endswith("_config.json")]
        assert [entry["use_pickle"] for config in configs for entry in config["config"].values()].count(True) == 0
        (examples,) = [value for name, value in contents.items() if "sample_inputs" in name]
        assert examples == b""
        assert not [name for name, value in contents.items() if value[:4] == b"PK\x03\x04"]


@needs_onnx
@pytest.mark.parametrize("name", CASES)
def test_onnx__every_batch_size__answers_as_predict_does(name, models, folder):
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    assert [(each.name, each.shape[1:]) for each in session.get_inputs()] == [("images", [3, 32, 32])]
    assert [each.name for each in session.get_outputs()] == ["logits"]
    for batch in BATCHES:
        images = torch.rand(batch, 3, 32, 32)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        answers = torch.from_numpy(logits).softmax(dim=1)
        torch.testing.assert_close(answers, probabilities(models[name], images), rtol=0, atol=1e-5)


@needs_onnx
def test_onnx__file_of_another_maker__is_refused_in_one_line(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="a damaged or foreign one"):
        open_onnx(tmp_path / "model.onnx")


def test_open_program__file__gives_classes_and_input(folder, models):
    found = open_program(folder / "ossl-resnet8.pt2")
    assert found.description == Description.of(models["ossl-resnet8"])
    pixels = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    expected = probabilities(models["ossl-resnet8"], pixels / 255)
    torch.testing.assert_close(found.outputs(pixels).softmax(1), expected, rtol=0, atol=1e-5)


def foreign_archive():
    file = io.BytesIO()
    torch.save({"weights": torch.zeros(2)}, file)
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"no archive", foreign_archive()], ids=["empty", "text", "torch.save"])
def test_open_program__foreign_file__is_refused_before_torch_reads_it(content, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.export, "load", None)
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.pt2"):
        open_program(tmp_path / "model.pt2")


def test_open_program__damaged_file__is_refused_in_one_line(folder, tmp_path, caplog):
    with zipfile.ZipFile(folder / "ossl-resnet8.pt2") as old, zipfile.ZipFile(tmp_path / "model.pt2", "w") as new:
        for name in old.namelist():
            if "weight_1" not in name:
                new.writestr(name, old.read(name))
    with pytest.raises(CheckpointError, match=r"that torch .* can load") as error:
        open_program(tmp_path / "model.pt2")
    assert len(str(error.value).splitlines()) == 1
    assert caplog.records == []


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["densenet40_12", "resnet18_cifar"])
def test_capture__large_backbones__answer_as_predict_does(backbone, make_model, tmp_path):
    model = make_model("ossl", backbone)
    program = capture(model)
    (tmp_path / "model.pt2").write_bytes(to_pt2(program, Description.of(model)))
    pixels = torch.randint(0, 256, (7, 3, 32, 32), dtype=torch.uint8)
    found = open_program(tmp_path / "model.pt2").outputs(pixels).softmax(1)
    torch.testing.assert_close(found, probabilities(model, pixels / 255), rtol=0, atol=1e-5)
