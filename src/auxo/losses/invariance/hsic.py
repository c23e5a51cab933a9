"""Weighted Hilbert-Schmidt independence criterion: for columns of many values, each with few images in a batch."""

from dataclasses import dataclass

import torch

from auxo.losses.invariance._discrepancy import find_dependence
from auxo.losses.invariance._interface import AbstractInvariance, InvarianceTerms, JoinedRows, KernelPenaltyConfig

SOURCE = (
    "Gretton, Bousquet, Smola, Schoelkopf, Measuring statistical dependence with Hilbert-Schmidt norms, ALT 2005. A "
    "weighted one is named by a follow-up of shortcut removal (Zheng, Makar, Causally motivated multi-shortcut "
    "identification and removal, NeurIPS 2022), which was not read; the weighting here is ours."
)


class HSIC(AbstractInvariance):
    """The penalty alpha HSIC between features and the column in the joined batch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(KernelPenaltyConfig):
        """Options of the independence criterion."""

        def build(self, *, num_classes: int, num_values: int) -> "HSIC":
            """Return it."""
            return HSIC(self, num_classes=num_classes, num_values=num_values)

    config: Config

    def forward(self, rows: JoinedRows) -> InvarianceTerms:
        """Return the class loss and the weighted criterion."""
        config = self.config
        kernel = config.kernel.compare(config.choose_rows(rows))
        masks = config.list_masks(rows, self.num_classes)
        found = [find_dependence(kernel, rows.values, weights, num_values=self.num_values) for weights in masks]
        return InvarianceTerms(config.predict(rows), config.find_weight(rows) * torch.stack(found).sum())
