"""A last batch of one image is refused before training where batch norm cannot take it, and taken elsewhere."""

import pytest


def words_of(place, method, *options):
    """The words of a run on 65 images in batches of 64."""
    numbers = ("--data.num-train", 65, "--batch-size", 64, "--data.image-size", 8, "--backbone.name", "resnet18")
    return [
        "train",
        method,
        "--data.train",
        place.shapes,
        *place.tiny_options[4:],
        "--out",
        place.out,
        *numbers,
        *options,
    ]


@pytest.mark.parametrize("method", ["supervised", "ossl", "joint_training"])
def test_train__last_batch_of_one_image_at_one_pixel__is_refused_and_nothing_is_written(assert_refused, place, method):
    expected = "batches of two images or more for batch norm over single pixels"
    says = f"{expected}, got one image in the last batch, step 2 of an epoch: pass --drop-last"
    assert_refused(*words_of(place, method, "--epochs", 1), says=says)


def test_train__last_batch_dropped__trains(auxo, place):
    assert auxo(*words_of(place, "supervised", "--epochs", 1, "--drop-last")).code == 0


def test_train__last_batch_of_one_image_of_several_pixels__trains(auxo, place):
    words = words_of(place, "supervised", "--epochs", 1, "--backbone.name", "resnet8")
    assert auxo(*words).code == 0
