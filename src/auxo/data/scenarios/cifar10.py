"""CIFAR-10: ten kinds of animals and vehicles, 32x32; unseen: its test images under the common corruptions."""

import torch

from auxo.data.config import DataConfig
from auxo.data.corruptions import SEVERITIES, corrupt_at_all_severities
from auxo.data.readers import store
from auxo.data.scenarios._copies import KnownSet
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, ValSplit, stratified_parts, subsample
from auxo.random import derive_seed

__all__ = ["SOURCE", "build"]

SOURCE = """\
Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 (https://www.cs.toronto.edu/~kriz/cifar.html).
Training: its training part without a stratified tenth, which validates; test: its test part. corrupted-cifar10: 500 of
the test images, stratified, once at each of five severities of the fifteen common corruptions (after Hendrycks &
Dietterich, ICLR 2019; rendered anew, so not comparable to CIFAR-10-C); its errors are not independent of the test
split's. Read from <root>/cifar10/{train,test}.parquet, or from the Hugging Face hub as uoft-cs/cifar10; the way over the
hub is untested: it was written offline."""

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
    num_val = round(_VAL_FRACTION * len(whole))
    pool, val = stratified_parts(
        whole,
        [len(whole) - num_val, num_val],
        ["cifar10-train", "cifar10-val"],
        seed=derive_seed(seed, "cifar10", "parts"),
    )
    train = subsample(pool, config.num_train, seed=derive_seed(seed, "cifar10", "num_train"))
    test = _CIFAR10.read("test", config, image_size=config.image_size, class_names=whole.class_names)
    train, val, test = store([train, val, test], config)
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
