"""Invariant risk minimisation (IRMv1): one head is to be the best for every group at once."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch.nn import functional

from auxo.losses.invariance._interface import (
    AbstractInvariance,
    Groups,
    InvarianceTerms,
    JoinedRows,
    WeightedLossConfig,
    measure_groups,
)
from auxo.options import Range

SOURCE = (
    "Arjovsky, Bottou, Gulrajani, Lopez-Paz, Invariant risk minimization (arXiv 1907.02893), IRMv1. Differs: the "
    "values of the column are the environments, and the penalty has its weight from the first step."
)


class IRM(AbstractInvariance):
    r"""The penalty :math:`\beta` times the mean over groups of :math:`(\partial_w L_g(w f))^2` at :math:`w = 1`.

    The derivative of an image's cross-entropy is :math:`\sum_k (p_k - 1[k = y]) f_k`, so no second pass is needed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(WeightedLossConfig):
        """Options of IRMv1."""

        weight: Annotated[float, Range(low=0)] = 10.0
        """Beta, the weight of the penalty."""
        groups: Groups = "values"
        """The environments: every value, or every class with every value."""

        def build(self, *, num_classes: int, num_values: int) -> "IRM":
            """Return it."""
            return IRM(self, num_classes=num_classes, num_values=num_values)

    config: Config

    def forward(self, rows: JoinedRows) -> InvarianceTerms:
        """Return the class loss and the weighted penalty."""
        config, logits = self.config, rows.logits
        # The network's outputs times a number w: the derivative of the loss in w, at w = 1, in closed form.
        answers = functional.one_hot(rows.classes, self.num_classes).to(logits.dtype)
        slopes = ((logits.softmax(1) - answers) * logits).sum(1)
        found = measure_groups(
            rows._replace(losses=slopes), config.groups, num_classes=self.num_classes, num_values=self.num_values
        )
        penalty = torch.where(found.has_images, found.risks.square(), 0.0).sum() / found.has_images.sum()
        return InvarianceTerms(config.predict(rows), config.weight * penalty)
