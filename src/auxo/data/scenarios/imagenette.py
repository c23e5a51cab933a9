"""Imagenette: ten easy classes of ImageNet, 64x64 here; unseen: its test images under the common corruptions."""

from auxo.data.config import DataConfig
from auxo.data.scenarios._copies import KnownSet
from auxo.data.scenarios._corrupted_copies import build_with_corrupted_test
from auxo.data.splits import Splits
from auxo.tasks import AbstractTask

SOURCE = """\
Howard, Imagenette, 2019 (https://github.com/fastai/imagenette), a part of ImageNet (Deng et al., CVPR 2009). Training:
its training part without a stratified tenth, which validates; test: its validation part, which decides nothing here.
Images are scaled to 64 pixels on the short side (--data.image-size for another size) and cropped to the centre.
corrupted-imagenette: 500 of the test images, stratified, once at each of five severities of the fifteen common
corruptions (after Hendrycks & Dietterich, ICLR 2019; rendered anew at this size, so not comparable to ImageNet-C); its
errors are not independent of the test split's. Read from <root>/imagenette/{train,test}.parquet, where a part of the
set will do, or from the Hugging Face hub as frgfm/imagenette, in its Parquet form of 320 pixels. The way over the hub
was written offline and is untested."""

_IMAGENETTE = KnownSet(
    name="imagenette", hub="frgfm/imagenette/320px@refs/convert/parquet", hub_parts=("train", "validation")
)
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
    return build_with_corrupted_test(_IMAGENETTE, config, image_size=config.image_size or _SIDE, seed=seed, task=task)
