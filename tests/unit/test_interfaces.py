"""Views: what a method may ask for."""

import pytest

from auxo.errors import ConfigError, SelectionError
from auxo.interfaces import View


def test_view__default__is_the_training_images_under_the_runs_augmentation():
    assert View() == View("train", augment=None, ratio=1)


@pytest.mark.parametrize("split", ["test", "val", "ood/elsewhere"])
def test_view__split_that_judges__is_refused(split):
    with pytest.raises(SelectionError, match=f"views of train, meta, unlabelled or pictures, got '{split}'"):
        View(split)


@pytest.mark.parametrize("ratio", [0, -1])
def test_view__ratio_below_one__is_refused(ratio):
    with pytest.raises(ConfigError, match="a view's ratio >= 1, got"):
        View("unlabelled", ratio=ratio)
