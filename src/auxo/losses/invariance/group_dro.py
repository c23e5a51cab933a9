"""Group distributionally robust optimisation: the group with the largest loss weighs most."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from auxo.losses.invariance._interface import (
    AbstractInvariance,
    Groups,
    InvarianceConfig,
    InvarianceTerms,
    JoinedRows,
    measure_groups,
)
from auxo.options import Range

SOURCE = (
    "Sagawa, Koh, Hashimoto, Liang, Distributionally robust neural networks for group shifts, ICLR 2020 (arXiv "
    "1911.08731), algorithm 1, written from memory. Without its adjustment by the size of groups; batches have groups "
    "of equal size, as there, with weighting=stratified only."
)


class GroupDRO(AbstractInvariance):
    r"""The loss :math:`\sum_g q_g L_g` with :math:`q_g \propto q_g \exp(\eta L_g)` moved at every step.

    A group without images in a batch has the loss 0 there.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(InvarianceConfig):
        """Options of group DRO."""

        step_size: Annotated[float, Range(low=0)] = 0.01
        """Eta, how fast the weights of the groups follow their losses; 0 keeps them equal."""
        groups: Groups = "cells"
        """Every class with every value, or every value."""

        def build(self, *, num_classes: int, num_values: int) -> "GroupDRO":
            """Return it."""
            return GroupDRO(self, num_classes=num_classes, num_values=num_values)

    config: Config
    weights: Tensor

    def __init__(self, config: Config, *, num_classes: int, num_values: int) -> None:
        super().__init__(config, num_classes=num_classes, num_values=num_values)
        count = num_values if config.groups == "values" else num_classes * num_values
        self.register_buffer("weights", torch.full((count,), 1 / count))

    def forward(self, rows: JoinedRows) -> InvarianceTerms:
        """Move the weights of the groups, and return the weighted loss and 0."""
        found = measure_groups(rows, self.config.groups, num_classes=self.num_classes, num_values=self.num_values)
        # Moved before the loss is taken, as in algorithm 1: the worst group of this batch weighs more in this step.
        with torch.no_grad():
            moved = self.weights * torch.exp(self.config.step_size * found.risks.detach().to(self.weights.dtype))
            self.weights.copy_(moved / moved.sum())
        # A copy: the next step moves the buffer before this one's graph may be gone.
        loss = (self.weights.clone().to(found.risks.dtype) * found.risks).sum()
        return InvarianceTerms(loss, loss.new_zeros(()))
