"""Which classes and images are shown."""

import pytest
import torch

from auxo.errors import ConfigError, DataError
from auxo.explain import ExplainConfig
from auxo.types import Column


def make_column(counts, names=None):
    """Return the classes of images, so many of each, in a random order."""
    labels = torch.tensor([label for label, count in enumerate(counts) for _ in range(count)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    names = tuple(names or (f"class{label}" for label in range(len(counts))))
    return Column(labels, names)


def test_choose_classes__by_default__are_the_first_ten_with_pictures():
    assert ExplainConfig().choose_classes(make_column([2, 0, 1]), source="blank") == [0, 2]
    assert ExplainConfig().choose_classes(make_column([1, 0] + [1] * 12), source="blank") == [0, *range(2, 11)]


def test_choose_classes__named__are_those_in_their_order():
    pictures = make_column([1, 1, 1], ["cat", "dog", "horse"])
    assert ExplainConfig(classes=("horse", "cat")).choose_classes(pictures, source="blank") == [2, 0]


def test_choose_classes__unknown_name__gives_the_nearest():
    with pytest.raises(ConfigError, match="'hrose': did you mean horse"):
        ExplainConfig(classes=("hrose",)).choose_classes(make_column([1, 1], ["cat", "horse"]), source="blank")


def test_choose_classes__named_class_without_pictures__is_refused():
    with pytest.raises(DataError, match="images of 'horse' in 'blank', got none"):
        ExplainConfig(classes=("horse",)).choose_classes(make_column([1, 0], ["cat", "horse"]), source="blank")


def test_draw__more_pictures_than_asked_for__are_of_the_class_and_follow_the_seed():
    pictures = make_column([40, 40])
    drawn = {seed: ExplainConfig(seed=seed, per_class=5).draw(pictures, 1) for seed in (0, 1)}
    assert len(drawn[0].unique()) == 5
    assert (pictures.values[drawn[0]] == 1).all()
    assert torch.equal(drawn[0], ExplainConfig(seed=0, per_class=5).draw(pictures, 1))
    assert not torch.equal(drawn[0], drawn[1])


def test_draw__fewer_pictures__are_all():
    pictures = make_column([2, 9])
    assert torch.equal(ExplainConfig(per_class=5).draw(pictures, 0), (pictures.values == 0).nonzero().flatten())


def test_spread__too_many__keeps_the_proportions_of_the_shown_classes():
    pictures = make_column([60, 30, 50])
    places = ExplainConfig(num_points=30).spread(pictures, [0, 1])
    assert pictures.values[places].bincount().tolist() == [20, 10]
    assert torch.equal(places, places.unique())


def test_spread__few__are_all_of_the_shown_classes():
    pictures = make_column([3, 4, 5])
    assert torch.equal(ExplainConfig().spread(pictures, [0, 2]), (pictures.values != 1).nonzero().flatten())


def test_spread__fewer_points_than_classes__is_refused():
    with pytest.raises(ConfigError, match=r"num-points >= 3, one per class, got 2"):
        ExplainConfig(num_points=2).spread(make_column([3, 4, 5]), [0, 1, 2])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"per_class": 0}, r"per-class in \[1, 20\], got 0"),
        ({"per_class": 21}, r"per-class in \[1, 20\], got 21"),
        ({"num_points": 1}, "num-points >= 2, got 1"),
        ({"classes": ("a", "a")}, "different classes, got a a"),
        ({"classes": tuple(map(str, range(29)))}, "at most 28 classes, got 29"),
        ({"seed": 10**23}, r"seed in \[0, 9\.22337e\+18\], got 10{23}"),
        ({"perplexity": 0.5}, "perplexity >= 1, got 0.5"),
    ],
)
def test_config__value_out_of_range__is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        ExplainConfig(**options)
