"""Networks of a method: new ones, and trained ones that stay as they are."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.errors import CheckpointError, ConfigError
from auxo.export import export_run
from auxo.export.weights_file import load_network
from auxo.interfaces import MethodConfig
from auxo.methods.supervised import Supervised
from auxo.registry.outside import load_outside
from auxo.runs import Networks, StageConfig, from_json, load_model
from auxo.runs.networks import read_columns, read_networks, record_backbones, record_columns
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification, Target
from auxo.types import Normalisation

from ..training.run_here import make_config, make_splits, run_here, weights_of

TASK = Classification(("a", "b"), channels=3, height=32, width=32)
HALF = Normalisation(torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.5))
OUTSIDE = Path(__file__).parents[2] / "outside" / "taught.py"
RESNET = BackboneConfig(name="resnet8")


def taught(teacher, **training):
    stage = StageConfig(
        method=load_outside(f"{OUTSIDE}:Taught.Config", MethodConfig)(teacher=str(teacher)), epochs=2, batch_size=16
    )
    return replace(make_config(stage, **training), backbone=RESNET)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A finished run on darker images."""
    folder = tmp_path_factory.mktemp("teachers") / "teacher"
    splits = make_splits()
    splits.train.source.images.div_(2, rounding_mode="floor")
    config = make_config(StageConfig(method=Supervised.Config(), epochs=1, batch_size=16))
    run_here(replace(config, backbone=RESNET), folder, splits)
    return folder


def test_new__second_network__has_weights_of_its_own_stream():
    first, again = (Networks(RESNET, TASK, seed=0) for _ in range(2))
    made = first.new("generator").state_dict()
    assert all(torch.equal(value, made[name]) for name, value in again.new("generator").state_dict().items())
    assert not torch.equal(made["convolution.weight"], first.backbone.convolution.weight)
    assert not torch.equal(made["convolution.weight"], first.new("other").convolution.weight)
    assert first.new("large", BackboneConfig(name="resnet18_cifar")).num_features == 512


@pytest.mark.parametrize("name", ["backbone", "generator", "two words"])
def test_new__name_that_is_taken_or_no_word__is_refused(name):
    networks = Networks(RESNET, TASK, seed=0)
    networks.new("generator")
    with pytest.raises(ConfigError, match=f"a new name of a network.*got '{name}'") as caught:
        networks.new(name)
    assert "\n" not in str(caught.value)


def test_load__run__gives_the_features_of_its_own_model_and_no_gradient(teacher):
    network = Networks(RESNET, TASK, seed=1, given=HALF).load("teacher", str(teacher))
    assert network.name == "teacher"
    pixels, state = oriented_shapes(6, size=28, seed=4).images, weights_of(teacher / "model.safetensors")
    own = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    plain = RESNET.build(TASK, seed=3).eval()
    plain.load_state_dict(own)
    record = read_record(network)
    images = (pixels / 255 - record.mean) / record.std
    expected = plain(images).pooled
    found = network.train()(HALF.to_inputs(pixels / 255)).pooled
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert float(record.mean.mean()) < 0.3  # the darker images', not those of this run


def read_record(network):
    """The normalisation that a frozen network undoes, from its buffers."""
    std = HALF.std / network.scale
    return Normalisation(HALF.mean - network.shift * std, std)


def test_run__with_a_trained_network__keeps_it_once_and_needs_its_source_no_more(teacher, tmp_path):
    source = shutil.copytree(teacher, tmp_path / "source")
    config, splits = taught(source), make_splits()
    whole = tmp_path / "whole"
    run_here(config, whole, splits)
    (kept,) = (whole / "networks").iterdir()
    assert kept.name == "teacher.safetensors"
    files = [whole / "model.safetensors", *(whole / "checkpoints").iterdir()]
    assert not any(name.startswith("teacher") for path in files for name in weights_of(path))
    shutil.rmtree(source)

    cut = shutil.copytree(whole, tmp_path / "cut")
    for path in (cut / "model.safetensors", cut / "checkpoints" / "train-final.safetensors"):
        path.unlink()
    max((cut / "checkpoints").iterdir()).unlink()
    run_here(config, cut, splits)
    ends = [weights_of(folder / "model.safetensors") for folder in (whole, cut)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_export__network_that_predicts__is_in_it_with_its_weights_and_no_place(teacher, tmp_path):
    config, splits = taught(teacher), make_splits()
    run_here(config, tmp_path / "run", splits)
    images = splits.test.source.images / 255
    with open_runtime(RuntimeConfig(device="cpu")) as runtime, torch.no_grad():
        model = load_model(config, tmp_path / "run", runtime=runtime)
        export_run(model, config=config, run=tmp_path / "run", formats=("safetensors",), out=tmp_path / "export")
        text = (tmp_path / "export" / "config.json").read_text()
        assert str(teacher.parent) not in text
        assert str(teacher.parent) not in (tmp_path / "export" / "model.safetensors").read_bytes().decode("latin1")
        moved = from_json(text, origin="config.json", code=[str(OUTSIDE)], is_published=True)
        again = load_network(moved, tmp_path / "export", runtime=runtime)
        inputs = model.pipeline.normalisation.to_inputs(images)
        torch.testing.assert_close(again.method.predict(inputs), model.method.predict(inputs))


def test_run__of_two_stages_with_one_trained_network__keeps_it_once(teacher, tmp_path):
    options = load_outside(f"{OUTSIDE}:Taught.Config", MethodConfig)(teacher=str(teacher))
    stages = [StageConfig(name=name, method=options, epochs=1, batch_size=32) for name in ("first", "second")]
    run_here(replace(make_config(*stages), backbone=RESNET), tmp_path / "run", make_splits())
    assert list(read_networks(tmp_path / "run")) == ["teacher"]


def test_load_model__network_that_the_run_kept_and_lost__is_refused(teacher, tmp_path):
    config = taught(teacher)
    run_here(config, tmp_path / "run", make_splits())
    (tmp_path / "run" / "networks" / "teacher.safetensors").unlink()
    with (
        open_runtime(RuntimeConfig(device="cpu")) as runtime,
        pytest.raises(CheckpointError, match="the network teacher that the run keeps, got no networks/teacher"),
    ):
        load_model(config, tmp_path / "run", runtime=runtime)


def test_load__file_of_a_run__is_normalised_as_the_run_was(teacher):
    networks = Networks(RESNET, TASK, seed=1, given=HALF)
    from_file, from_run = (networks.load(n, str(p)) for n, p in (("a", teacher / "model.safetensors"), ("b", teacher)))
    assert torch.equal(from_file.scale, from_run.scale)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(from_file(images).pooled, from_run(images).pooled)


def test_load__foreign_file__asks_for_its_normalisation(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(dict(RESNET.build(TASK, seed=5).state_dict()), path)
    networks = Networks(RESNET, TASK, seed=0, given=HALF)
    with pytest.raises(ConfigError, match="normalises its 3 channels, got none: pass mean and std"):
        networks.load("first", str(path))
    network = networks.load("second", str(path), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert torch.equal(network.scale, torch.full((3, 1, 1), 2.0))


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        ("nowhere", ConfigError, "a trained network, got nothing such at nowhere"),
        ("nowhere.safetensors", ConfigError, "a file of weights at nowhere.safetensors, got nothing there"),
        ("damaged.safetensors", CheckpointError, "a whole safetensors file at damaged.safetensors"),
    ],
)
def test_load__source_that_cannot_be_read__is_refused_in_one_line(source, error, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "damaged.safetensors").write_bytes(b"not at all")
    with pytest.raises(error, match=says) as caught:
        Networks(RESNET, TASK, seed=0, given=HALF).load("teacher", source)
    assert "\n" not in str(caught.value)


def test_load__model_of_transformers__has_its_own_normalisation(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    sizes = {"hidden_sizes": [8, 8, 16, 24], "depths": [1, 1, 1, 1], "embedding_size": 8}
    transformers.ResNetModel(transformers.ResNetConfig(**sizes)).save_pretrained(tmp_path / "net")
    stated = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.2]}
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps(stated))
    networks = Networks(RESNET, TASK, seed=0, given=HALF)
    network = networks.load("teacher", f"hf:{tmp_path / 'net'}")
    torch.testing.assert_close(network.scale.flatten(), torch.full((3,), 2.5))
    assert json.loads(networks.loaded["teacher"].record["backbone"]["architecture"])


def test_load__file_of_a_model_of_timm__is_normalised_as_timm_says(tmp_path):
    timm = pytest.importorskip("timm")
    whole = timm.create_model("resnet18", num_classes=0).eval()
    save_file(dict(whole.state_dict()), tmp_path / "net.safetensors")
    task = Classification(("a", "b"), channels=3, height=64, width=64)
    networks = Networks(RESNET, task, seed=0, given=HALF)
    timm_net = BackboneConfig(name="timm:resnet18")
    network = networks.load("teacher", str(tmp_path / "net.safetensors"), backbone=timm_net)
    stated, pixels = timm.get_pretrained_cfg("resnet18"), torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (stated.mean, stated.std))
    with torch.no_grad():
        found, expected = network(HALF.to_inputs(pixels)).pooled, whole((pixels - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_read_networks__run_without_any__has_none(tmp_path):
    assert read_networks(tmp_path) == {}


def test_record_backbones__in_the_options_of_a_method__are_recorded_too(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.ResNetConfig(hidden_sizes=[8, 8, 16, 24], depths=[1, 1, 1, 1]).save_pretrained(tmp_path)

    @dataclass(frozen=True, kw_only=True)
    class Options(Supervised.Config):
        second: BackboneConfig

    config = make_config(StageConfig(method=Options(second=BackboneConfig(name=f"hf:{tmp_path}"))))
    assert record_backbones(config).stages[0].method.second.architecture
    assert record_backbones(make_config(StageConfig(method=Supervised.Config()))) == make_config(
        StageConfig(method=Supervised.Config())
    )


def test_read_columns__header_of_a_model__has_what_was_recorded():
    columns = {
        "fine": Target("fine", ("p", "q")),
        "mask": Target("mask", ("ground",), has_places=True, ignore=255),
    }
    header = json.loads(json.dumps({"columns": record_columns(columns)}))
    assert read_columns(header) == columns
    assert read_columns({}) == {}
