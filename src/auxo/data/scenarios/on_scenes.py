"""MNIST digits, or the middle of CIFAR-10 images, on scenes of water and land that tell the class in training."""

from dataclasses import replace

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from auxo.data.config import DataConfig
from auxo.data.cuts import stratified_parts
from auxo.data.loader import in_memory
from auxo.data.scenarios._copies import KnownSet, cut_train_and_val
from auxo.data.scenarios._shortcuts import Cue, build_splits, group_source
from auxo.data.shortcuts import choose_scenes, paste_centres, paste_digits
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.splits import Splits
from auxo.errors import DataError, OptionError
from auxo.random import derive_seed
from auxo.tasks import AbstractTask
from auxo.types import LABEL

NAMES = ("digits_on_scenes", "objects_on_scenes")

SOURCE = """\
Backgrounds: the photographs of cloud, forest, mountain, plain and sea of CIFAR-100 (Krizhevsky, Learning Multiple
Layers of Features from Tiny Images, 2009); sea is water, the others are land. Those of its training part stand behind
training and validation images, those of its test part behind the rest. In front: MNIST digits (4,000 to train, or
num_train), their pixels above half of the full value, 0 to 4 against 5 to 9; or the middle 20 x 20 pixels of CIFAR-10,
vehicles against animals. Up to 1,000 images validate and test each, and up to 2,000 held-out ones are shown at other
strengths, in the sets strength-P. After the Waterbirds of Sagawa et al., Distributionally Robust Neural Networks, ICLR
2020, and of Makar et al., AISTATS 2022, whose birds were cut out of CUB-200-2011 and stand on Places photographs.
Read from <root>/{mnist,cifar10,cifar100_scenes}/{train,test}.parquet, the last with at least those five classes, or
from the Hugging Face hub as ylecun/mnist, uoft-cs/cifar10 and uoft-cs/cifar100. The way over the hub was written
offline and is untested."""

_MNIST = KnownSet(name="mnist", hub="ylecun/mnist")
_CIFAR10 = KnownSet(name="cifar10", hub="uoft-cs/cifar10", hub_image_column="img")
_SCENES = KnownSet(
    name="cifar100_scenes", hub="uoft-cs/cifar100", hub_image_column="img", hub_label_column="fine_label"
)
_KINDS = ("sea", "cloud", "forest", "mountain", "plain")
_WATER_AND_LAND = ("water", "land")
_HALVES = {
    "digits_on_scenes": ("0+1+2+3+4", "5+6+7+8+9"),
    "objects_on_scenes": ("airplane+automobile+ship+truck", "bird+cat+deer+dog+frog+horse"),
}
_SIDE = 32
_GREY = 128
_NUM_TRAIN_DIGITS = 4000
_MOST_JUDGING = 1000


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives the root, ``shortcut``, ``num_train`` (default 4,000 digits, or all objects) and ``image_size``
            (32).
        seed: decides the parts, the cues and the scenes.
        task: says what proportions a smaller number of training images keeps.

    Raises:
        OptionError: the groups or the number of values cannot be used.
        DataError: a set is missing, cannot be used, or is too small for ``num_train``.
    """
    shortcut, has_digits = config.shortcut, config.scenario == "digits_on_scenes"
    names = {2: _WATER_AND_LAND, len(_KINDS): _KINDS}.get(shortcut.values or 2)
    if names is None:
        fix = "choose water and land, or the five scenes"
        raise OptionError(("data", "shortcut", "values"), f"2 or {len(_KINDS)} on scenes", str(shortcut.values), fix)
    parts = _read_parts(_MNIST if has_digits else _CIFAR10, config, seed=seed, task=task)
    scenes = {is_trained: _read_scenes("train" if is_trained else "test", config) for is_trained in (True, False)}
    paste = paste_digits if has_digits else paste_centres

    def draw(
        images: UInt8[Tensor, "n 3 h w"], values: Int[Tensor, " n"], is_trained: bool, generator: torch.Generator
    ) -> UInt8[Tensor, "n 3 32 32"]:
        if not shortcut.drawn:
            return paste(images, torch.full((len(images), 3, _SIDE, _SIDE), _GREY, dtype=torch.uint8))
        behind = scenes[is_trained]
        kinds = behind.columns[LABEL].values.clamp(max=len(names) - 1)  # water first, all others after it
        return paste(images, behind.images[choose_scenes(kinds, values, generator=generator)])

    return build_splits(parts, Cue("background", names, draw), replace(config, num_train=None), seed=seed, task=task)


def _read_parts(
    known: KnownSet, config: DataConfig, *, seed: int, task: type[AbstractTask]
) -> dict[str, InMemorySource]:
    """Return what stands in front, by what it is for, with the groups of classes for a label."""
    groups = config.shortcut.groups or _HALVES[config.scenario]
    plain = replace(config, columns=(), label_column="label")
    size = None if known is _MNIST else _SIDE
    whole = known.read("train", plain, image_size=size)
    of_train = group_source(whole, groups)
    of_test = group_source(known.read("test", plain, image_size=size, like=whole), groups)
    default = _NUM_TRAIN_DIGITS if known is _MNIST else None
    num_val = min(_MOST_JUDGING, len(of_train) // 10)
    most = len(of_train) - num_val
    train, val = cut_train_and_val(
        of_train,
        known.name,
        num_train=config.num_train or (default and min(default, most)),
        num_val=num_val,
        seed=derive_seed(seed, "shortcut", "parts"),
        task=task,
    )
    num_test = min(_MOST_JUDGING, len(of_test) // 3)
    sizes = [num_test, min(2 * _MOST_JUDGING, len(of_test) - num_test)]
    names = [f"{known.name}-test", f"{known.name}-shifted"]
    test_seed = derive_seed(seed, "shortcut", "test parts")
    test, shifted = stratified_parts(of_test, sizes, names, seed=test_seed, task=task)
    parts: dict[str, AbstractSource] = {"train": train, "val": val, "test": test, "shifted": shifted}
    return {role: in_memory(part, workers=config.workers) for role, part in parts.items()}


def _read_scenes(part: str, config: DataConfig) -> InMemorySource:
    """Return the photographs of one part, numbered in the order of their kinds."""
    plain = replace(config, columns=(), label_column="label")
    source = _SCENES.read(part, plain, image_size=_SIDE)
    missing = [kind for kind in _KINDS if kind not in source.vocabulary[LABEL]]
    if missing:
        got = f"no {', '.join(missing)} in '{source.name}'"
        raise DataError(f"scenes of {', '.join(_KINDS)}", got, "give a set with all of them")
    return in_memory(group_source(source, _KINDS), workers=config.workers)
