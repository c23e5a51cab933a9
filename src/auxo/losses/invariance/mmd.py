"""Weighted maximum mean discrepancy: features have one law for every value of the column."""

from dataclasses import dataclass

import torch

from auxo.losses.invariance._discrepancy import Contrast, Estimator, discrepancy
from auxo.losses.invariance._interface import AbstractInvariance, InvarianceTerms, JoinedRows, KernelPenaltyConfig

SOURCE = (
    "Makar, Packer, Moldovan, Blalock, Halpern, D'Amour, Causally motivated shortcut removal using auxiliary labels, "
    "AISTATS 2022 (arXiv 2105.06422), after the released code; of the paper only the abstract and the first page could "
    "be read. Released: biased, of two values. Ours: the unbiased estimator, more than two values, other kernels."
)


class MMD(AbstractInvariance):
    r"""The penalty :math:`\alpha \mathrm{MMD}^2` between the samples of the column's values in the joined batch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(KernelPenaltyConfig):
        """Options of the discrepancy."""

        estimator: Estimator = "biased"
        """Keep the kernel of each image with itself (released), or leave it out: not biased, and negative at times."""
        contrast: Contrast = "pairs"
        """Of more than two values, the sum over all pairs, or over each value against the rest."""

        def build(self, *, num_classes: int, num_values: int) -> "MMD":
            """Return it."""
            return MMD(self, num_classes=num_classes, num_values=num_values)

    config: Config

    def forward(self, rows: JoinedRows) -> InvarianceTerms:
        """Return the class loss and the weighted discrepancy."""
        config = self.config
        kernel = config.kernel.compare(config.choose_rows(rows))
        found = [
            discrepancy(
                kernel,
                rows.values,
                weights,
                num_values=self.num_values,
                estimator=config.estimator,
                contrast=config.contrast,
            )
            for weights in config.list_masks(rows, self.num_classes)
        ]
        return InvarianceTerms(config.predict(rows), config.find_weight(rows) * torch.stack(found).sum())
