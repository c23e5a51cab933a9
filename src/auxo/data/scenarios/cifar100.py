"""CIFAR-100: a hundred kinds of things, 32x32; unseen: its test images under the common corruptions."""

from auxo.data.config import DataConfig
from auxo.data.scenarios._copies import KnownSet, Level
from auxo.data.scenarios._corrupted_copies import build_with_corrupted_test
from auxo.data.splits import Splits
from auxo.tasks import AbstractTask

SOURCE = """\
Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 (https://www.cs.toronto.edu/~kriz/cifar.html).
Labels: the 100 fine ones. Training: its training part without a stratified tenth, which validates; test: its test
part. corrupted-cifar100: 500 of the test images, stratified, once at each of five severities of the fifteen common
corruptions (after Hendrycks & Dietterich, ICLR 2019; rendered anew, so not comparable to CIFAR-100-C); its errors are
not independent of the test split's. Read from <root>/cifar100/{train,test}.parquet, where a part of the set will do,
or from the Hugging Face hub as uoft-cs/cifar100. The way over the hub was written offline and is untested."""

_COARSE = Level(
    names=(
        *("aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables"),
        *("household_electrical_devices", "household_furniture", "insects", "large_carnivores"),
        *("large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores"),
        *("medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees"),
        *("vehicles_1", "vehicles_2"),
    ),
    of_class=(
        *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7),
        *(6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10),
        *(16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16),
        *(12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
    ),
)
_TEN_OF_COARSE = (1, 2, 5, 6, 5, 6, 6, 3, 0, 7, 8, 0, 1, 3, 4, 0, 2, 5, 9, 9)
_THREE_OF_TEN = (0, 0, 0, 0, 0, 1, 2, 2, 2, 2)
_TEN = Level(
    names=(  # the names are ours
        *("large_animals", "medium_mammals", "small_animals", "invertebrates", "people", "vegetation"),
        *("household_objects", "constructions", "natural_scenes", "vehicles"),
    ),
    of_class=tuple(_TEN_OF_COARSE[coarse] for coarse in _COARSE.of_class),
)
_THREE = Level(
    names=("animals", "vegetation", "things"), of_class=tuple(_THREE_OF_TEN[number] for number in _TEN.of_class)
)
_CIFAR100 = KnownSet(
    name="cifar100",
    hub="uoft-cs/cifar100",
    hub_image_column="img",
    hub_label_column="fine_label",
    levels={"coarse": _COARSE, "level10": _TEN, "level3": _THREE},
    finest="fine",
)


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives the root, ``num_train`` (default all), ``image_size`` (default 32) and storage.
        seed: decides which images train, validate and are corrupted, and the corruptions.
        task: says what proportions every part keeps.

    Raises:
        DataError: a part is missing, cannot be used, or is too small.
    """
    return build_with_corrupted_test(_CIFAR100, config, image_size=config.image_size, seed=seed, task=task)
