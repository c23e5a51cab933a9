"""Permutation test: the column is drawn anew within each class, as it could be if features told nothing of it there."""

from dataclasses import dataclass
from typing import Annotated

import torch

from auxo.options import Range
from auxo.random import named_generator
from auxo.runs.independence._interface import Dependence, IndependenceTestConfig, SplitRows

SOURCE = (
    "Ours, in the place of the released t-test of Makar et al., AISTATS 2022, which rejects most models whose true "
    "discrepancy is 0. Permutation within strata: Good, Permutation, Parametric and Bootstrap Tests, 2005."
)

_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Permutation(IndependenceTestConfig):
    """Compares the discrepancy with those of columns that are permuted within each class.

    If a shortcut plays no part, features depend on the class alone, and given the class the column is exchangeable. The
    numbers in the cells stay, and so do the weights. The p-value is ``(1 + as large or larger) / (1 + permutations)``.
    """

    permutations: Annotated[int, Range(low=19)] = 200
    """Permuted columns; the smallest p-value is one over their number and 1."""

    def test(self, rows: SplitRows, *, num_classes: int, num_values: int) -> Dependence:
        """See :meth:`IndependenceTestConfig.test`."""
        kernel = self.kernel.compare(rows.rows)
        generator = named_generator(0, "independence", "permutation")
        order = rows.classes.argsort(stable=True)

        places = torch.arange(len(order)).repeat(1 + self.permutations, 1)  # the first row is the column itself
        for row in places[1:]:
            shuffled = torch.randperm(len(order), generator=generator)
            row[order] = shuffled[rows.classes[shuffled].argsort(stable=True)]
        parts = [
            self.compare(
                kernel,
                rows.classes,
                rows.values[part],
                rows.weights[part],
                num_classes=num_classes,
                num_values=num_values,
            )
            for part in places.split(_AT_ONCE)
        ]
        found, *drawn = torch.cat(parts).tolist()
        # Equal but for rounding counts as large: features that are all alike give 0 in every order.
        least = found - 1e-12 * max(1.0, abs(found))
        count = sum(each >= least for each in drawn)
        return Dependence(found, (1 + count) / (1 + self.permutations))
