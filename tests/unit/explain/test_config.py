"""Which classes and images are shown."""

import pytest
import torch

from auxo.data import InMemorySource
from auxo.errors import ConfigError, DataError
from auxo.explain import ExplainConfig


def source(counts, names=None):
    """Return blank images, so many of each class, the classes in turn."""
    labels = torch.tensor([label for label, count in enumerate(counts) for _ in range(count)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    names = tuple(names or (f"class{label}" for label in range(len(counts))))
    return InMemorySource("blank", torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), labels, names)


def test_labels__by_default__are_the_first_ten_with_pictures():
    assert ExplainConfig().labels(source([2, 0, 1])) == [0, 2]
    assert ExplainConfig().labels(source([1, 0] + [1] * 12)) == [0, *range(2, 11)]


def test_labels__named__are_those_in_their_order():
    pictures = source([1, 1, 1], ["cat", "dog", "horse"])
    assert ExplainConfig(classes=("horse", "cat")).labels(pictures) == [2, 0]


def test_labels__unknown_name__gives_the_nearest():
    with pytest.raises(ConfigError, match="'hrose': did you mean horse"):
        ExplainConfig(classes=("hrose",)).labels(source([1, 1], ["cat", "horse"]))


def test_labels__named_class_without_pictures__is_refused():
    with pytest.raises(DataError, match="images of 'horse' in 'blank', got none"):
        ExplainConfig(classes=("horse",)).labels(source([1, 0], ["cat", "horse"]))


def test_draw__more_pictures_than_asked_for__are_of_the_class_and_follow_the_seed():
    pictures = source([40, 40])
    drawn = {seed: ExplainConfig(seed=seed, per_class=5).draw(pictures, 1) for seed in (0, 1)}
    assert len(drawn[0].unique()) == 5
    assert (pictures.labels[drawn[0]] == 1).all()
    assert torch.equal(drawn[0], ExplainConfig(seed=0, per_class=5).draw(pictures, 1))
    assert not torch.equal(drawn[0], drawn[1])


def test_draw__fewer_pictures__are_all():
    pictures = source([2, 9])
    assert torch.equal(ExplainConfig(per_class=5).draw(pictures, 0), (pictures.labels == 0).nonzero().flatten())


def test_spread__too_many__keeps_the_proportions_of_the_shown_classes():
    pictures = source([60, 30, 50])
    places = ExplainConfig(num_points=30).spread(pictures, [0, 1])
    assert pictures.labels[places].bincount().tolist() == [20, 10]
    assert torch.equal(places, places.unique())


def test_spread__few__are_all_of_the_shown_classes():
    pictures = source([3, 4, 5])
    assert torch.equal(ExplainConfig().spread(pictures, [0, 2]), (pictures.labels != 1).nonzero().flatten())


def test_spread__fewer_points_than_classes__is_refused():
    with pytest.raises(ConfigError, match=r"num-points >= 3, one per class, got 2"):
        ExplainConfig(num_points=2).spread(source([3, 4, 5]), [0, 1, 2])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"per_class": 0}, r"per-class in 1\.\.20, got 0"),
        ({"per_class": 21}, r"per-class in 1\.\.20, got 21"),
        ({"num_points": 1}, "num-points >= 2, got 1"),
        ({"classes": ("a", "a")}, "different classes, got a a"),
        ({"classes": tuple(map(str, range(29)))}, "at most 28 classes, got 29"),
        ({"perplexity": 0.5}, "perplexity >= 1, got 0.5"),
    ],
)
def test_config__value_out_of_range__is_refused(options, says):
    with pytest.raises(ConfigError, match=says):
        ExplainConfig(**options)
