"""The classes themselves, also where they are hidden: an upper bound that no use of a method can have."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.errors import DataError
from auxo.losses import IGNORE
from auxo.pretexts.labellers._interface import IGNORED, AbstractPixelLabeller, LabellerConfig, LabelSource
from auxo.types import MASK, Batch

SOURCE = "Ours: a bound. With it, contrast of pixels is supervised on every image, as if all masks had been drawn."

HIDDEN = "hidden_mask"
"""Name of the target that has the masks of images that are shown without theirs, with data.keep-hidden."""


class Oracle(AbstractPixelLabeller):
    """Labels every pixel by its class, from the mask that was hidden where one was."""

    @dataclass(frozen=True, kw_only=True)
    class Config(LabellerConfig):
        """It has no options."""

        is_costly = False

        def num_labels(self, num_classes: int) -> int:
            """Return the number of classes."""
            return num_classes

        def learn(self, source: LabelSource) -> "Oracle":
            """Return the labeller; it learns nothing."""
            known = {MASK, HIDDEN} & source.images.targets.keys()
            if not any((source.images.targets[name] != IGNORE).any() for name in known):
                got, fix = "none that is known", "keep what data.num-labelled hides with --data.keep-hidden"
                raise DataError(f"masks in {source.images.split} for the labeller oracle", got, fix)
            return Oracle()

    def label(self, batch: Batch) -> Int[Tensor, "n height width"]:
        """Return the classes."""
        targets = batch.targets
        mask = targets.get(HIDDEN, targets.get(MASK))
        assert mask is not None  # learn has seen to it
        mask = mask.int()
        if HIDDEN in targets and MASK in targets:
            mask = torch.where(targets[MASK].int() == IGNORE, mask, targets[MASK].int())
        return mask.masked_fill(mask == IGNORE, IGNORED)
