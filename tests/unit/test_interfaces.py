"""Views: what a method may ask for."""

import math

import pytest

from auxo.errors import ConfigError, SelectionError
from auxo.interfaces import MethodConfig, TrainState, View


def test_view__default__is_the_training_images_under_the_runs_augmentation():
    assert View() == View("train", augment=None, ratio=1)


@pytest.mark.parametrize("split", ["test", "val", "ood/elsewhere"])
def test_view__split_that_judges__is_refused(split):
    with pytest.raises(SelectionError, match=f"views of train, meta, unlabelled or images, got '{split}'"):
        View(split)


@pytest.mark.parametrize("ratio", [0, -1, -0.5, math.nan, math.inf])
def test_view__ratio_out_of_range__is_refused(ratio):
    with pytest.raises(ConfigError, match="a view's ratio > 0, got"):
        View("unlabelled", ratio=ratio)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "a view's batch size >= 1, got 0"),
        ({"batch_size": 50, "ratio": 2}, "a view's batch size or its ratio, got batch_size 50 and ratio 2"),
        ({"augment": "strong", "images": False}, "no augment in a view without images, got 'strong'"),
    ],
)
def test_view__options_that_contradict_each_other__are_refused_in_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        View("meta", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("view", "size"),
    [
        (View(), 64),
        (View(ratio=7), 448),
        (View(ratio=50 / 64), 50),
        (View(ratio=0.33), 21),
        (View(ratio=0.001), 1),
        (View(batch_size=50), 50),
    ],
)
def test_view__images_of_a_batch__are_the_rounded_ratio_or_the_number_asked_for(view, size):
    assert view.count_images(64) == size


def test_config__with_the_plan_of_the_old_interface__is_refused_in_one_line_that_says_where_to_look():
    with pytest.raises(ConfigError, match=r"plan\(self, step, passes\), got .*docs/moving.md") as caught:

        class Config(MethodConfig):
            def plan(self, step):
                return step

    assert "\n" not in str(caught.value)


def test_state__step_in_the_middle__knows_its_epoch_and_progress():
    state = TrainState({}, step=7, num_steps=20, steps_per_epoch=5)
    assert (state.epoch, state.progress) == (1, 0.35)


def test_config__with_the_build_of_the_old_interface__is_refused_in_one_line_that_says_where_to_look():
    says = r"networks\), got build\(self, backbone, task, seed\) .*docs/moving.md"
    with pytest.raises(ConfigError, match=says) as caught:

        class Config(MethodConfig):
            def build(self, backbone, task, *, seed):
                return None

    assert "\n" not in str(caught.value)
