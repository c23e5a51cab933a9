"""``auxo label-quality``: labellers of a recipe, the labels of a run, and what is refused."""

import csv
import json
import shutil

import pytest

from auxo.cli.label_quality import _read_rule, _read_words
from auxo.pretexts.labellers.encoder import Encoder
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.runs.model import splits_of
from auxo.runtime import open_runtime

DATA = ("--data.scenario", "textured_scenes", "--data.num-train", "16", "--data.image-size", "32", "--device", "cpu")
SMALL = (*DATA, "--data.num-labelled", "8", "--runtime.threads", "1")


@pytest.fixture(scope="module")
def labelled_run(tmp_path_factory):
    """A run of one epoch that has stored its labels of pixels."""
    from auxo.cli import main

    out = tmp_path_factory.mktemp("runs") / "contrast"
    words = ("train", "pixel_contrast", *SMALL, "--epochs", "1", "--training.no-tensorboard", "--out", str(out))
    with pytest.raises(SystemExit) as stop:
        main([*words])
    assert not stop.value.code
    return out


def test_label_quality__of_several_labellers__prints_and_writes_them_best_first(auxo, tmp_path):
    names = "random,oracle,patch_energy,image_id"
    answer = auxo("label-quality", "pixel_contrast", *SMALL, "--labellers", names, "--out", tmp_path / "found")
    assert answer.code == 0, answer.err
    record = json.loads((tmp_path / "found" / "quality.json").read_text())
    found = {each["labeller"]: each for each in record["labellers"]}
    assert [*found] == names.split(",")
    assert found["oracle"]["cross_quality"] == 1
    assert found["patch_energy"]["cross_quality"] > found["random"]["cross_quality"] > 0
    assert found["image_id"]["cross_quality"] == 0
    assert {each["images"] for each in found.values()} == {4}
    assert record["notes"] == ["Judged on 4 of the 8 training images with masks, whose masks no labeller has read."]
    places = [answer.out.index(f" {name} ") for name in ("oracle", "patch_energy", "random", "image_id")]
    assert places == sorted(places)
    with (tmp_path / "found" / "quality.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert float(rows[1]["pairs.across.precision_positive"]) == 1
    assert rows[3]["pairs.across.precision_positive"] == ""


def test_label_quality__of_validation_images_and_numbers_of_clusters__says_so(auxo, tmp_path):
    words = ("--labellers", "random", "--clusters", "3", "9", "--images", "val", "--out", tmp_path)
    answer = auxo("label-quality", "pixel_contrast", *SMALL, *words)
    assert answer.code == 0, answer.err
    record = json.loads((tmp_path / "quality.json").read_text())
    assert [(each["labeller"], each["num_labels"]) for each in record["labellers"]] == [
        ("random 3", 3),
        ("random 9", 9),
    ]
    assert "50 validation images" in record["notes"][0]


def test_label_quality__of_a_run__judges_the_labels_that_it_has_stored(auxo, labelled_run):
    answer = auxo("label-quality", labelled_run)
    assert answer.code == 0, answer.err
    record = json.loads((labelled_run / "label-quality" / "quality.json").read_text())
    (found,) = record["labellers"]
    assert (found["labeller"], found["images"]) == ("patch_energy", 8)
    assert found["num_labels"] <= 12
    assert found["cross_quality"] > 0.3
    assert "has stored, judged on its 8 training images with masks" in record["notes"][0]


def test_label_quality__of_a_run__draws_pixels_at_the_size_of_its_features(labelled_run):
    asked = _read_words([str(labelled_run)])
    with open_runtime(asked.config.runtime) as runtime:
        rule = _read_rule(asked, splits_of(asked.config), runtime)
    assert rule.size == (16, 16)  # of images of 32 x 32
    assert rule.batch_size == asked.config.stages[0].batch_size


def test_read_words__options_of_labellers_and_of_the_recipe__go_where_they_belong():
    words = ("--labellers", "encoder,patch_energy", "--labeller.encoder.source", "timm:resnet18", "--held-out=0.3")
    asked = _read_words(["segmentation", *words, "--seed", "4", "--pretrain.method.labeller.patch", "9"])
    assert asked.labellers["encoder"] == Encoder.Config(source="timm:resnet18")
    assert asked.labellers["patch_energy"] == PatchEnergy.Config(patch=9)
    assert (asked.config.seed, asked.options.held_out) == (4, 0.3)


@pytest.mark.parametrize("words", [("--clusters", "6,12"), ("--clusters=6,12",), ("--clusters", "6", "12")])
def test_read_words__numbers_of_clusters__are_tried_with_every_labeller_that_has_some(words):
    asked = _read_words(["segmentation", "--labellers=patch_energy,image_id", *words])
    assert [*asked.labellers] == ["patch_energy 6", "patch_energy 12", "image_id"]
    assert asked.labellers["patch_energy 12"] == PatchEnergy.Config(clusters=12)


def test_read_words__no_labeller_named__means_that_of_the_recipe_and_the_bounds():
    assert [*_read_words(["segmentation"]).labellers] == ["patch_energy", "oracle", "random", "image_id"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            (),
            "expected a recipe or the directory of a run as the first word, got none: auxo label-quality segmentation",
        ),
        (("ossl",), "expected a stage that makes labels of pixels, got none in ossl: name one, such as segmentation"),
        (("pixel_contrast", "--labellers", "path_energy"), "did you mean patch_energy?"),
        (("pixel_contrast", "--labeler", "random"), "--labeler"),
        (("pixel_contrast", "--labellers", "random", "--labeller.random.patch", "3"), "labeller.random.patch"),
        (("pixel_contrast", "--labellers", "random", "--labeller.encoder.scale", "2"), "labeller.encoder.scale"),
        (("pixel_contrast", "--images", "test"), "held_out"),
        (("pixel_contrast", "--held-out", "1"), "held-out in (0, 1), got 1"),
        (("pixel_contrast", "--clusters", "0"), "clusters >= 1, got 0"),
    ],
)
def test_label_quality__what_cannot_be__is_refused_in_one_line(auxo, words, message):
    answer = auxo("label-quality", *words)
    assert answer.code == 2, answer.out
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_label_quality__a_run_with_labellers_or_without_labels__is_refused(auxo, labelled_run, tmp_path):
    answer = auxo("label-quality", labelled_run, "--labellers", "random")
    assert answer.code == 2
    assert "got --labellers" in answer.err
    other = tmp_path / "other"
    shutil.copytree(labelled_run, other)
    for file in (other / "checkpoints").glob("*-prepared.safetensors"):
        file.unlink()
    answer = auxo("label-quality", other)
    assert answer.code == 2
    assert "labels that stage train has stored" in answer.err
