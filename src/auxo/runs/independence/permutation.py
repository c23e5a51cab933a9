"""Permutation test: the column is drawn anew within each class, as it could be if features told nothing of it there."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.options import Range
from auxo.random import named_generator, permute_within
from auxo.runs.independence._interface import Dependence, IndependenceTestConfig, SplitRows
from auxo.tasks import permutation_p_value

SOURCE = (
    "Ours, in the place of the released t-test of Makar et al., AISTATS 2022, which rejects most models whose true "
    "discrepancy is 0. Permutation within strata: Good, Permutation, Parametric and Bootstrap Tests, 2005."
)


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

        def measure(places: Int[Tensor, "*draws n"]) -> Float[Tensor, "*draws"]:
            values, weights = rows.values[places], rows.weights[places]
            return self.compare(kernel, rows.classes, values, weights, num_classes=num_classes, num_values=num_values)

        # No seed of the run: models that are compared meet the same permutations.
        generator = named_generator(0, "independence", "permutation")
        orders = permute_within(rows.classes, draws=self.permutations, generator=generator)
        found = float(measure(torch.arange(len(kernel))))
        return Dependence(found, permutation_p_value(found, torch.cat([measure(each) for each in orders])))
