"""CIFAR-100: a hundred kinds of things, 32x32; unseen: its test images under the common corruptions."""

from auxo.data.config import DataConfig
from auxo.data.scenarios._copies import KnownSet
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

_CIFAR100 = KnownSet(name="cifar100", hub="uoft-cs/cifar100", hub_image_column="img", hub_label_column="fine_label")


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
