"""What keeps a network from telling a column apart: from rows of the joined batch to a loss and a penalty."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from auxo.losses.kernels import KernelConfig
from auxo.losses.kernels.rbf import RBF
from auxo.options import FamilyOptions, Range
from auxo.types import Labels, Losses

Layer: TypeAlias = Literal["embedding", "logits"]
Over: TypeAlias = Literal["marginal", "conditional"]
Groups: TypeAlias = Literal["cells", "values"]


class JoinedRows(NamedTuple):
    """What is known of every image of the joined batch, equal in every process.

    Args:
        losses: class loss of each; attached.
        weights: of each, >= 0; all 1 where the images are not weighted.
        embedding: pooled features; attached; at least float32.
        logits: of the head; attached; at least float32.
        classes: int64.
        values: of the column; int64.
        progress: part of the stage that is done, in [0, 1).
    """

    losses: Losses
    weights: Losses
    embedding: Float[Tensor, "samples dim"]
    logits: Float[Tensor, "samples classes"]
    classes: Int[Tensor, " samples"]
    values: Int[Tensor, " samples"]
    progress: float = 0.0


class InvarianceTerms(NamedTuple):
    """What is minimised: the sum of both.

    Args:
        prediction: what the class losses come to; attached.
        penalty: what is added; attached, 0 where there is none.
    """

    prediction: Float[Tensor, ""]
    penalty: Float[Tensor, ""]


class AbstractInvariance(nn.Module, ABC):
    """Makes two terms of the rows of a joined batch.

    Args:
        config: options.
        num_classes: of the task.
        num_values: of the column.
    """

    config: "InvarianceConfig"

    def __init__(self, config: "InvarianceConfig", *, num_classes: int, num_values: int) -> None:
        super().__init__()
        self.config, self.num_classes, self.num_values = config, num_classes, num_values

    @abstractmethod
    def forward(self, rows: JoinedRows) -> InvarianceTerms:
        """Return what is minimised. Called once a step, with gradients."""


@dataclass(frozen=True, kw_only=True)
class InvarianceConfig(FamilyOptions):
    """What keeps the network from telling the column apart; each has options of its own."""

    family = "losses.invariance"

    @abstractmethod
    def build(self, *, num_classes: int, num_values: int) -> AbstractInvariance:
        """Return it.

        Args:
            num_classes: of the task.
            num_values: of the column.
        """


@dataclass(frozen=True, kw_only=True)
class WeightedLossConfig(InvarianceConfig):
    """Options of those that keep the class loss as a weighted mean."""

    loss_scale: Literal["weighted_mean", "sum_unweighted"] = "weighted_mean"
    """The class loss is the weighted mean of the batch, or its plain sum: what the released code comes to, whose
    weights cancel by a product of the wrong shapes."""

    def predict(self, rows: JoinedRows) -> Float[Tensor, ""]:
        """Return the class loss of the joined batch."""
        return weighted_mean(rows.losses, rows.weights) if self.loss_scale == "weighted_mean" else rows.losses.sum()


@dataclass(frozen=True, kw_only=True)
class KernelPenaltyConfig(WeightedLossConfig):
    """Options of penalties by a kernel."""

    weight: Annotated[float, Range(low=0)] = 10.0
    """Alpha, the weight of the penalty. With a long scale sigma only alpha / sigma^2 counts. Released: 10 in the
    example, 1e3 to 1e7 in the experiments, with sigma 1 to 1000."""
    ramp: Annotated[float, Range(low=0, high=1)] = 0.0
    """Part of the stage over which the weight grows evenly from 0; released: none. A network that begins with features
    all alike, which has no penalty, may not leave them again."""
    kernel: KernelConfig = field(default_factory=RBF)
    """How alike two rows are."""
    layer: Layer = "embedding"
    """What is to tell nothing of the column: pooled features, or logits less their mean."""
    over: Over = "marginal"
    """Nothing over all images, or nothing within each class: the sum over the classes of the batch."""

    def choose_rows(self, rows: JoinedRows) -> Float[Tensor, "samples dim"]:
        """Return what the kernel compares."""
        if self.layer == "embedding":
            return rows.embedding
        return rows.logits - rows.logits.mean(1, keepdim=True)  # which says nothing: a softmax takes it out

    def find_weight(self, rows: JoinedRows) -> float:
        """Return the weight of the penalty at this part of the stage."""
        return self.weight * min(1.0, rows.progress / self.ramp) if self.ramp else self.weight

    def list_masks(self, rows: JoinedRows, num_classes: int) -> list[Float[Tensor, " samples"]]:
        """Return the weights of the images that are compared: of all at once, or of one class after the other."""
        if self.over == "marginal":
            return [rows.weights]
        return [rows.weights * (rows.classes == number) for number in range(num_classes)]


def weighted_mean(losses: Losses, weights: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return ``sum u_i l_i / sum u_i``.

    Args:
        losses: shape ``(n,)``.
        weights: of the same shape; another one would be spread over the losses without a word.

    Raises:
        ValueError: the shapes differ.
    """
    if losses.shape != weights.shape:
        raise ValueError(f"weights of the shape {tuple(losses.shape)} of the losses, not {tuple(weights.shape)}")
    return (weights * losses).sum() / weights.sum()


class GroupRisks(NamedTuple):
    """The weighted mean loss of each group of a batch.

    Args:
        risks: shape ``(groups,)``; attached; 0 for those without images.
        has_images: which have some.
    """

    risks: Float[Tensor, " groups"]
    has_images: Tensor


def measure_groups(rows: JoinedRows, groups: Groups, *, num_classes: int, num_values: int) -> GroupRisks:
    """Return the risks of the cells of class and value, or of the values.

    Args:
        rows: of the joined batch.
        groups: which.
        num_classes: how many there are.
        num_values: how many there are.
    """
    numbers = rows.values if groups == "values" else rows.classes * num_values + rows.values
    count = num_values if groups == "values" else num_classes * num_values
    return average_by_group(rows.losses, rows.weights, numbers, count)


def average_by_group(losses: Losses, weights: Losses, numbers: Labels, count: int) -> GroupRisks:
    """Return weighted means by group, 0 for groups without weight.

    Args:
        losses: shape ``(n,)``.
        weights: shape ``(n,)``.
        numbers: of each image's group; int64 in ``0..count-1``.
        count: of the groups.
    """
    empty = torch.zeros(count, dtype=losses.dtype, device=losses.device)
    mass = empty.index_add(0, numbers, weights)
    total = empty.index_add(0, numbers, weights * losses)
    return GroupRisks(total / torch.where(mass > 0, mass, 1.0), mass > 0)
