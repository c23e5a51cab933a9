"""The released t-test: the discrepancy of three parts of the validation set against 0."""

import math
from dataclasses import dataclass
from typing import Annotated

from auxo.errors import ConfigError
from auxo.options import Range
from auxo.runs.independence._interface import Dependence, IndependenceTestConfig, SplitRows

SOURCE = (
    "The released code of Makar et al., AISTATS 2022. Its values are never negative, so their mean is not 0 where the "
    "true discrepancy is: then, too, it gives p < 0.05 in a fifth to nine tenths of trials, by the law of the "
    "features, and three equal values give p = 0."
)


@dataclass(frozen=True, kw_only=True)
class Chunks(IndependenceTestConfig):
    """Compares the discrepancies of consecutive parts of equal size with 0, by a two-sided t-test of one sample."""

    chunks: Annotated[int, Range(low=2)] = 3
    """Parts; what is left of the images is dropped."""

    def test(self, rows: SplitRows, *, num_classes: int, num_values: int) -> Dependence:
        """See :meth:`IndependenceTestConfig.test`.

        Raises:
            ConfigError: there are fewer images than parts.
        """
        size = len(rows.rows) // self.chunks
        if not size:
            raise ConfigError(f"{self.chunks} validation images or more", str(len(rows.rows)), "give more of them")
        found = []
        for start in range(0, size * self.chunks, size):
            part = SplitRows(*(each[start : start + size] for each in rows))
            kernel, columns = self.kernel.compare(part.rows), part[1:]
            found.append(float(self.compare(kernel, *columns, num_classes=num_classes, num_values=num_values)))
        return Dependence(math.fsum(found) / len(found), compare_mean(found))


def compare_mean(values: list[float]) -> float:
    """Return the two-sided p-value of a t-test of the mean against 0; 1 where all are 0, 0 where all are equal."""
    if not any(values):
        return 1.0
    if len({*values}) == 1:
        return 0.0
    from scipy import stats  # a second of start-up that only this test needs

    return float(stats.ttest_1samp(values, 0.0).pvalue)
