"""CIFAR-10: ten kinds of animals and vehicles, 32x32; unseen: its test images under the common corruptions."""

import torch

from auxo.data.config import DataConfig
from auxo.data.corruptions import SEVERITIES, corrupt_at_all_severities
from auxo.data.readers import store
from auxo.data.scenarios._copies import KnownSet, cut_train_and_val
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, ValSplit, stratified_parts
from auxo.random import derive_seed

__all__ = ["SOURCE", "build"]

SOURCE = """\
Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 (https://www.cs.toronto.edu/~kriz/cifar.html).
Training: its training part without a stratified tenth, which validates; test: its test part. corrupted-cifar10: 500 of
the test images, stratified, once at each of five severities of the fifteen common corruptions (after Hendrycks &
Dietterich, ICLR 2019; rendered anew, so not comparable to CIFAR-10-C); its errors are not independent of the test
split's. Read from <root>/cifar10/{train,test}.parquet, where a part of the set will do, or from the Hugging Face hub as
uoft-cs/cifar10. The way over the hub was written offline and is untested."""

_CIFAR10 = KnownSet(name="cifar10", hub="uoft-cs/cifar10", hub_image_column="img")
_VAL_FRACTION = 0.1
_NUM_CORRUPTED = 2500


def build(config: DataConfig, *, seed: int) -> Splits:
    """Return the splits.

    Args:
        config: gives the root, ``num_train`` (default all), ``image_size`` (default 32) and storage; the corrupted
            images are always held in memory, because they are made here.
        seed: decides which images train, validate and are corrupted, and the corruptions.

    Raises:
        DataError: a part is missing, cannot be used, or is too small.
    """
    whole = _CIFAR10.read("train", config, image_size=config.image_size)
    train_part, val_part = cut_train_and_val(
        whole,
        _CIFAR10.name,
        num_train=config.num_train,
        num_val=round(_VAL_FRACTION * len(whole)),
        seed=derive_seed(seed, "cifar10", "parts"),
    )
    test_part = _CIFAR10.read("test", config, image_size=config.image_size, class_names=whole.class_names)
    test_part.name = "cifar10-test"
    train, val, test = store([train_part, val_part, test_part], config)
    return Splits(
        train=TrainSplit(train),
        val=ValSplit(val),
        test=TestSplit(test),
        ood=(OODSplit(_corrupted(test, seed)),),
    )


def _corrupted(test: AbstractSource, seed: int) -> InMemorySource:
    """Return a stratified part of the test images under the common corruptions."""
    (part,) = stratified_parts(
        test,
        [min(len(test), _NUM_CORRUPTED // len(SEVERITIES))],
        [test.name],
        seed=derive_seed(seed, "cifar10", "corrupted"),
    )
    clean = part.fetch(torch.arange(len(part)))
    corrupted = corrupt_at_all_severities(clean, seed=derive_seed(seed, "cifar10", "corruptions"))
    origins = corrupted.origins("corrupted-cifar10")
    return InMemorySource(
        "corrupted-cifar10", corrupted.images, part.labels[corrupted.sources], test.class_names, origins
    )
