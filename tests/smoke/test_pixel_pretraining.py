"""Pretraining by auxiliary labels and fine-tuning on masks of one's own, from the command line, and its variants."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from auxo.cli import main
from auxo.data.textures import draw_scenes
from auxo.errors import OptionError
from auxo.files import read_tensor_file
from auxo.recipes import segmentation
from auxo.runs.document import from_json, load_recipe, to_json

QUICK = ("--training.no-tensorboard", "--runtime.threads", "1", "--batch-size", "4")
VARIANTS = [
    name
    for name, made in vars(segmentation).items()
    if getattr(made, "__module__", "") == segmentation.__name__ and not name.startswith("_")
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A folder of images whose sides no stride divides, and their masks, some pixels of which are unknown."""
    root = tmp_path_factory.mktemp("pairs")
    scenes = draw_scenes(24, seed=0, name="own", side=26)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number, (image, mask) in enumerate(zip(scenes.images.numpy(), scenes.masks.numpy(), strict=True)):
        Image.fromarray(np.moveaxis(image, 0, -1)[:, :21].copy()).save(root / "images" / f"{number}.png")
        mask[:2] = 255
        Image.fromarray(mask[:, :21].copy()).save(root / "masks" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory):
    """A finished run of both stages on a folder, with nothing else said than how short it is to be."""
    out = tmp_path_factory.mktemp("segmentation") / "run"
    lengths = ("--pretrain.epochs", "1", "--fine-tune.epochs", "2", "--pretrain.batch-size", "6")
    quick = ("--training.no-tensorboard", "--runtime.threads", "1", "--training.keep-checkpoints", "9")
    words = ["train", "segmentation", "--data.train", str(pairs), *lengths, *quick, "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 0
    return out


def test_train__folder_of_ones_own__uses_all_masks_and_hands_on_backbone_and_decoder(run):
    checkpoints = run / "checkpoints"
    labels = read_tensor_file(checkpoints / "pretrain-prepared.safetensors").tree["targets"]
    assert [*labels] == ["train"]
    assert labels["train"]["pixel_labels"].shape == (20, 26, 21)
    first, last = (
        read_tensor_file(checkpoints / f"{name}-final.safetensors").tree for name in ("pretrain", "fine-tune")
    )
    parts = [{name.partition(".")[0] for name in each["weights"]} for each in (first, last)]
    assert parts == [{"backbone", "decoder", "objective"}, {"backbone", "decoder", "classifier"}]
    assert any((run / "exhibits" / "pretrain").glob("*.png"))


@pytest.mark.parametrize("stage", ["pretrain", "fine-tune"])
def test_resume__from_within_a_stage__ends_with_the_same_bits(run, auxo, tmp_path, stage):
    again = tmp_path / "again"
    shutil.copytree(run, again)
    for path in (again / "checkpoints").glob("fine-tune-*" if stage == "pretrain" else "fine-tune-final*"):
        path.unlink()
    saved = sorted((again / "checkpoints").glob(f"{stage}-0*.safetensors"))
    for path in (*saved[1:], again / "checkpoints" / f"{stage}-final.safetensors", again / "model.safetensors"):
        path.unlink(missing_ok=True)
    answer = auxo("train", "--resume", again)
    assert answer.code == 0, answer.err
    one, other = (read_tensor_file(folder / "model.safetensors").tree["weights"] for folder in (run, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_train__joint_variant_with_few_masks__is_measured_everywhere(auxo, pairs, tmp_path):
    words = ("--data.train", pairs, "--data.num-labelled", "6", "--epochs", "2", "--method.auxiliary-after-epochs", "1")
    answer = auxo("train", "auxo.recipes.segmentation:joint", *words, *QUICK, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "test" in answer.out
    labels = read_tensor_file(tmp_path / "run" / "checkpoints" / "train-prepared.safetensors").tree["targets"]
    assert [*labels] == ["unlabelled"]


@pytest.mark.parametrize("name", VARIANTS)
def test_variants__every_one__is_a_run_that_survives_json(name):
    made = load_recipe(f"auxo.recipes.segmentation:{name}")
    assert from_json(to_json(made), origin="config.json") == made
    assert made.task.name == "segmentation"


def test_train__decoders_of_two_stages_that_differ__is_one_line_before_anything_is_trained(auxo, pairs, tmp_path):
    one, both = (["--pretrain.method.decoder.name", "deeplab"], ["--fine-tune.method.decoder.name", "deeplab"])
    words = ("train", "segmentation", "--data.train", pairs, "--out", tmp_path / "run")
    answer = auxo(*words, *one)
    assert answer.code == 2
    assert "one decoder in the stages pretrain and fine-tune" in answer.err
    assert "--pretrain.method.decoder and --fine-tune.method.decoder" in answer.err
    assert not (tmp_path / "run").exists()
    assert auxo(*words, *one, *both, "--help").code == 0


def test_train__option_that_does_not_fit_the_backbone__is_named_with_its_whole_path(auxo, pairs, tmp_path):
    both = [f"--{stage}.method.decoder.stride=64" for stage in ("pretrain", "fine-tune")]
    answer = auxo("train", "segmentation", "--data.train", pairs, *both, "--out", tmp_path / "run")
    assert answer.code == 2
    assert "expected pretrain.method.decoder.stride <= 4, that of the backbone's coarsest map, got 64" in answer.err


def test_train__auxiliary_labels_without_a_weight__is_one_line(auxo, tmp_path):
    answer = auxo("train", "segmenter", "--method.labeller.name", "random", "--out", tmp_path / "run")
    assert answer.code == 2
    assert "--method.auxiliary-weight, such as 0.5" in answer.err
    assert answer.err.count("\n") == 1
    with pytest.raises(OptionError):
        segmentation.Segmenter.Config(auxiliary_after_epochs=2)
