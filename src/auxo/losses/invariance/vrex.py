"""Variance of the groups' risks (V-REx): every group is to have the same loss."""

from dataclasses import dataclass
from typing import Annotated

import torch

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
    "Krueger et al., Out-of-distribution generalization via risk extrapolation, ICML 2021 (arXiv 2003.00688). "
    "as_released is the baseline in the working repository of Makar et al. (google/structured_labels): the sum of the "
    "groups' risks, one without images counting as 0, divided by the weight."
)


class VREx(AbstractInvariance):
    r"""The mean of the groups' risks and :math:`\beta` times their variance, over the groups in the joined batch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(InvarianceConfig):
        """Options of V-REx."""

        weight: Annotated[float, Range(above=0)] = 10.0
        """Beta, the weight of the variance; released 1e2 to 1e6."""
        groups: Groups = "cells"
        """Every class with every value, or every value."""
        as_released: bool = False
        """Take (sum of risks + beta variance) / beta, in which a group without images has the risk 0."""

        def build(self, *, num_classes: int, num_values: int) -> "VREx":
            """Return it."""
            return VREx(self, num_classes=num_classes, num_values=num_values)

    config: Config

    def forward(self, rows: JoinedRows) -> InvarianceTerms:
        """Return the mean risk and the weighted variance."""
        config = self.config
        risks, has_images = measure_groups(
            rows, config.groups, num_classes=self.num_classes, num_values=self.num_values
        )
        if config.as_released:
            return InvarianceTerms(risks.sum() / config.weight, risks.var(correction=0))
        # A group without images has no risk: as 0 it would count as one that is solved, and widen the variance.
        count = has_images.sum()
        mean = risks.sum() / count
        spread = torch.where(has_images, (risks - mean).square(), 0.0).sum() / count
        return InvarianceTerms(mean, config.weight * spread)
