"""Tiny ImageNet: 200 classes of ImageNet, 64x64; unseen: its test images under the common corruptions."""

from auxo.data.config import DataConfig
from auxo.data.scenarios._copies import KnownSet
from auxo.data.scenarios._corrupted_copies import build_with_corrupted_test
from auxo.data.splits import Splits
from auxo.tasks import AbstractTask

SOURCE = """\
Le & Yang, Tiny ImageNet Visual Recognition Challenge, Stanford CS 231N, 2015 (http://cs231n.stanford.edu/), a part of
ImageNet (Deng et al., CVPR 2009): 100,000 training and 10,000 validation images. Training: its training part without a
stratified tenth, which validates; test: its validation part, since its test part has no labels; it decides nothing
here. corrupted-tiny_imagenet: 500 of the test images, stratified, once at each of five severities of the fifteen
common corruptions (after Hendrycks & Dietterich, ICLR 2019; rendered anew, so not comparable to Tiny ImageNet-C); its
errors are not independent of the test split's. Read from <root>/tiny_imagenet/{train,test}.parquet, where a part of
the set will do, or from the Hugging Face hub as zh-plus/tiny-imagenet. Neither way was tried with the real set: it was
written offline and is untested."""

_TINY_IMAGENET = KnownSet(name="tiny_imagenet", hub="zh-plus/tiny-imagenet", hub_parts=("train", "valid"))
_SIDE = 64


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives the root, ``num_train`` (default all), ``image_size`` (default 64) and storage.
        seed: decides which images train, validate and are corrupted, and the corruptions.
        task: says what proportions every part keeps.

    Raises:
        DataError: a part is missing, cannot be used, or is too small.
    """
    return build_with_corrupted_test(
        _TINY_IMAGENET, config, image_size=config.image_size or _SIDE, seed=seed, task=task
    )
