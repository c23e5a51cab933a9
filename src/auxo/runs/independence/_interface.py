"""What a test of independence is: from features of validation images to a discrepancy and a p-value."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.errors import ConfigError, NonFiniteError
from auxo.interfaces import AbstractImageReader
from auxo.layers.cell_weights import count_cells, independence_weights
from auxo.losses import cross_entropy_losses
from auxo.losses.invariance import discrepancy, weighted_mean
from auxo.losses.kernels import KernelConfig
from auxo.losses.kernels.rbf import RBF
from auxo.options import FamilyOptions, Range
from auxo.random import named_generator
from auxo.tasks import Measure
from auxo.types import LABEL, Images


class SplitRows(NamedTuple):
    """What a test sees, in the order of the split.

    Args:
        rows: features or logits; float64.
        classes: int64.
        values: of the column; int64.
        weights: that make class and column independent, or all 1.
    """

    rows: Float[Tensor, "n dim"]
    classes: Int[Tensor, " n"]
    values: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]


class Dependence(NamedTuple):
    """What a test found.

    Args:
        statistic: squared discrepancy between the values, >= 0.
        p_value: probability of one as large where features do not tell the column.
    """

    statistic: float
    p_value: float


@dataclass(frozen=True, kw_only=True)
class IndependenceTestConfig(FamilyOptions):
    """Whether features tell a column, by the squared weighted mean discrepancy between its values."""

    family = "runs.independence"

    column: str = ""
    """The column that features are not to tell, of the scenario or among data.columns."""
    significance: Annotated[float, Range(low=0, high=1)] = 0.05
    """Smallest p-value at which features count as independent of the column."""
    kernel: KernelConfig = field(default_factory=lambda: RBF(sigma=None))
    """How alike two rows are; by default on the scale of their median distance, so that models can be compared.
    Released: each model's own sigma."""
    layer: Literal["embedding", "logits"] = "embedding"
    """What is tested: pooled features, or the logits of the head that predicts, less their mean."""
    over: Literal["marginal", "conditional"] = "marginal"
    """Over all images, or the sum over the classes of what is found within each."""
    weighted: bool = True
    """Weight images so that class and column are independent, by the frequencies of the validation set."""
    most: Annotated[int, Range(low=2)] = 1000
    """Images that are tested at most, drawn at random; released: all, or 1,000."""

    @abstractmethod
    def test(self, rows: SplitRows, *, num_classes: int, num_values: int) -> Dependence:
        """Return the discrepancy and its p-value.

        Args:
            rows: of the validation images.
            num_classes: of the task.
            num_values: of the column.
        """

    @property
    def loss_name(self) -> str:
        """Name of the weighted loss among the measures."""
        return f"weighted_nll/{self.column}"

    @property
    def statistic_name(self) -> str:
        """Name of the discrepancy among the measures."""
        return f"discrepancy/{self.column}"

    @property
    def p_value_name(self) -> str:
        """Name of the p-value among the measures."""
        return f"independence/{self.column}"

    def measure(self, predict: Callable[[Images], Tensor], images: AbstractImageReader) -> dict[str, Measure]:
        """Return the weighted class loss of a split, the discrepancy and its p-value.

        Asked in every process, with equal answers.

        Args:
            predict: gives the logits of normalised images, such as :meth:`auxo.interfaces.AbstractMethod.predict`.
            images: of the split.

        Raises:
            ConfigError: the split has no such column, or one of a single value.
            NonFiniteError: a feature is not a finite number.
        """
        targets = images.targets
        self._check_column(targets, images.split)
        classes, values = targets[LABEL], targets[self.column]
        logits = images.read(lambda batch: predict(batch.images)).double()
        rows = images.features().double() if self.layer == "embedding" else logits - logits.mean(1, keepdim=True)
        if not rows.isfinite().all():
            fix = "the weights have diverged; train again with a lower learning rate"
            raise NonFiniteError(f"finite {self.layer} on {images.split}", "some that are not", fix)
        # Weights before images are drawn: those of the drawn part would not be of the split's frequencies.
        num_classes, num_values = logits.shape[1], int(values.max()) + 1
        table = independence_weights(count_cells(classes, values, shape=(num_classes, num_values)))
        weights = table[classes, values] if self.weighted else torch.ones(len(rows)).double()
        kept = _draw_part(len(rows), self.most)
        seen = SplitRows(rows[kept], classes[kept], values[kept], weights[kept])
        found = self.test(seen, num_classes=num_classes, num_values=num_values)
        loss = float(weighted_mean(cross_entropy_losses(logits, classes), weights))
        return {
            self.loss_name: Measure(loss, unit="nats", higher_is_better=False),
            self.statistic_name: Measure(found.statistic, unit="", higher_is_better=False),
            self.p_value_name: Measure(found.p_value, unit=""),
        }

    def compare(
        self,
        kernel: Float[Tensor, "n n"],
        classes: Int[Tensor, " n"],
        values: Int[Tensor, "*draws n"],
        weights: Float[Tensor, "*draws n"],
        *,
        num_classes: int,
        num_values: int,
    ) -> Float[Tensor, "*draws"]:
        """Return the discrepancy of rows whose kernel is known, under one column or several."""
        if self.over == "marginal":
            return discrepancy(kernel, values, weights, num_values=num_values)
        parts = [weights * (classes == number) for number in range(num_classes)]
        return torch.stack([discrepancy(kernel, values, part, num_values=num_values) for part in parts]).sum(0)

    def _check_column(self, targets: Mapping[str, Tensor], split: str) -> None:
        """Refuse a split without the column, or with one value of it only."""
        if self.column not in targets or self.column == LABEL:
            known = ", ".join(name for name in targets if name != LABEL) or "none"
            fix = "name one of data.columns or of the scenario with selection.test.column"
            raise ConfigError(
                f"a column of {split} to test features by", f"{self.column!r} where there is {known}", fix
            )
        if len(targets[self.column].unique()) < 2:
            fix = "give images of another, or test by another column"
            raise ConfigError(f"two values of {self.column!r} or more on {split}", "one", fix)


def _draw_part(count: int, most: int) -> Int[Tensor, " kept"]:
    """Return the positions of the images that are tested, in order; the same ones at every time."""
    if count <= most:
        return torch.arange(count)
    return torch.randperm(count, generator=named_generator(count, "independence", "part"))[:most].sort().values
