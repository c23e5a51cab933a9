"""Pretexts outside auxo: of one image, of one quadrant and of two views."""

from dataclasses import dataclass
from typing import Annotated

import torch

from auxo.interfaces import AbstractImagePretext, PretextBatch, PretextLoss
from auxo.losses import cross_entropy_losses
from auxo.options import Range
from auxo.pretexts import AbstractPairModule, AbstractQuadrantPretext, PairConfig


@dataclass(frozen=True)
class Brightness(AbstractImagePretext):
    """Tell by which of a few steps an image was made brighter."""

    steps: Annotated[int, Range(low=2)] = 4
    """How many."""

    @property
    def num_outputs(self):
        return self.steps

    def make(self, images, *, draws):
        answers = draws.integers(self.steps, len(images)).to(images.device)
        return self._brighten(images, answers, torch.arange(len(images), device=images.device))

    def make_all(self, images):
        answers = torch.arange(self.steps, device=images.device).repeat_interleave(len(images))
        sources = torch.arange(len(images), device=images.device).repeat(self.steps)
        return self._brighten(images.repeat(self.steps, 1, 1, 1), answers, sources)

    def loss(self, outputs, targets):
        return cross_entropy_losses(outputs, targets)

    def _brighten(self, images, answers, sources):
        return PretextBatch(images + answers.view(-1, 1, 1, 1) / 2, answers, sources)


@dataclass(frozen=True)
class UpsideDown(AbstractQuadrantPretext):
    """Tell whether a quadrant stands on its head."""

    @property
    def num_codes(self):
        return 2

    def transform(self, quadrant, code):
        return torch.rot90(quadrant, 2 * code, (1, 2))


class Agreement(AbstractPairModule):
    """Bring two views together."""

    @dataclass(frozen=True, kw_only=True)
    class Config(PairConfig):
        """The width."""

        width: Annotated[int, Range(low=1)] = 4
        """Of the head."""

        def build(self, backbone, *, seed):
            return Agreement(torch.nn.Linear(backbone.num_features, self.width))

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, backbone, inputs):
        first, second = (self.head(backbone(view).pooled) for view in (inputs.first, inputs.second))
        return PretextLoss((first - second).square().mean(), first.detach())
