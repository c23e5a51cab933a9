"""Predict from one view of an image what a slowly following copy of the network makes of another."""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.interfaces import AbstractBackbone, PretextLoss
from auxo.options import Range
from auxo.pretexts._pairs import AbstractPairModule, Pair
from auxo.pretexts._projector import ProjectorConfig, embed, in_float32, perceptron, unit_rows
from auxo.types import Losses

MomentumSchedule: TypeAlias = Literal["cosine", "constant"]

SOURCE = (
    "Grill et al., Bootstrap Your Own Latent, NeurIPS 2020 (arXiv 2006.07733): 2 - 2 cos summed over both directions, "
    "the target's momentum from 0.996 to 1 along half a cosine. Widths as in the released code of BiSSL (arXiv "
    "2410.02387), whose momentum is 0.9995 throughout: projector and predictor have three linear layers of width 256 "
    "(the paper: two, 4096 to 256). Differs: no biases."
)


def prediction_losses(predictions: Float[Tensor, "batch dim"], targets: Float[Tensor, "batch dim"]) -> Losses:
    """Return the squared distance of unit vectors, ``2 - 2 cos``, per image: 0 where they agree, 4 where opposite.

    Source: Grill et al., NeurIPS 2020, Eq. 2 (https://arxiv.org/abs/2006.07733).

    Args:
        predictions: attached to the graph.
        targets: detached.

    Returns:
        Shape ``(batch,)``, in [0, 4]; attached, twice differentiable.

    Example:
        >>> prediction_losses(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([2.])
    """
    return 2 - 2 * (unit_rows(predictions) * unit_rows(targets)).sum(1)


class BYOL(AbstractPairModule):
    """Projector and predictor behind the trained backbone, and a target that follows backbone and projector.

    The target is a network of its own: it normalises by the batch, keeps running statistics of what it saw, gets no
    gradient, and moves only in :meth:`follow` and :meth:`restart`.

    Args:
        backbone: copied into the target.
        projector: behind the trained backbone; copied into the target.
        predictor: from embeddings to the target's embeddings.
        momentum: part of itself that the target keeps at a step, in [0, 1].
        momentum_schedule: whether it rises to 1.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(ProjectorConfig):
        """Options of BYOL."""

        momentum: Annotated[float, Range(low=0, high=1)] = 0.996
        """Part of itself that the target keeps at a step; where the schedule starts."""
        momentum_schedule: MomentumSchedule = "cosine"
        """Whether the momentum rises to 1 along half a cosine, as published, or stays."""

        def build(self, backbone: AbstractBackbone, *, seed: int) -> "BYOL":
            """Return projector, predictor and target; the first two from the streams ``init/projector`` and so on."""
            return BYOL(
                backbone,
                projector=perceptron(self, "projector", backbone.num_features, seed=seed),
                predictor=perceptron(self, "predictor", self.outputs, seed=seed),
                momentum=self.momentum,
                momentum_schedule=self.momentum_schedule,
            )

    def __init__(
        self,
        backbone: nn.Module,
        *,
        projector: nn.Module,
        predictor: nn.Module,
        momentum: float,
        momentum_schedule: MomentumSchedule,
    ) -> None:
        super().__init__()
        self.projector = projector
        self.predictor = predictor
        self.target_backbone = deepcopy(backbone).requires_grad_(False)
        self.target_projector = deepcopy(projector).requires_grad_(False)
        self.momentum = momentum
        self.momentum_schedule = momentum_schedule

    def forward(self, backbone: nn.Module, pair: Pair) -> PretextLoss:
        """Return the mean over the joined batch of both directions' sum, in [0, 8]."""
        first = embed(backbone, self.projector, pair.first)
        second = embed(backbone, self.projector, pair.second)
        predictions = [in_float32(self.predictor(rows)) for rows in (first, second)]
        with torch.no_grad():
            targets = [embed(self.target_backbone, self.target_projector, view) for view in (pair.second, pair.first)]
        with torch.autocast(first.device.type, enabled=False):
            losses = prediction_losses(predictions[0], targets[0]) + prediction_losses(predictions[1], targets[1])
            return PretextLoss(pair.gather(losses.unsqueeze(1)).mean(), first.detach())

    def momentum_at(self, progress: float) -> float:
        r"""Return the momentum :math:`1 - (1 - m)(1 + \cos \pi x) / 2` of the cosine at progress x, or ``m`` itself."""
        if self.momentum_schedule == "constant":
            return self.momentum
        return 1 - (1 - self.momentum) * (1 + math.cos(math.pi * progress)) / 2

    @torch.no_grad()
    def follow(self, backbone: nn.Module, *, progress: float) -> None:
        """Move each of the target's parameters towards the trained one: ``m target + (1 - m) trained``."""
        moved = 1 - self.momentum_at(progress)
        for target, trained in ((self.target_backbone, backbone), (self.target_projector, self.projector)):
            for average, parameter in zip(target.parameters(), trained.parameters(), strict=True):
                average.lerp_(parameter, moved)

    def restart(self, backbone: nn.Module) -> None:
        """Make the target a copy of the trained backbone and projector, running statistics included."""
        self.target_backbone.load_state_dict(backbone.state_dict())
        self.target_projector.load_state_dict(self.projector.state_dict())

    def frozen_parameters(self) -> dict[str, str]:
        """Return the target's parameters."""
        reason = "the target follows the trained weights as their moving average"
        return {name: reason for name, _ in self.named_parameters() if name.startswith("target_")}
