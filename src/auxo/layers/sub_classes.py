"""Sub-classes: every class is divided into a number of them, and an image's label is spread over those of its class."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import ConfigError, DataError


class SubClasses(nn.Module):
    """Which of ``K`` sub-classes belong to which of ``C`` classes: those of class 0 first, then those of class 1.

    Args:
        counts: sub-classes of each class, at least one; one number alone holds for all classes.
        num_classes: ``C``.

    Raises:
        ConfigError: the counts do not fit the classes, or one of them is below 1.

    Example:
        >>> SubClasses([2, 3], num_classes=2).mask(torch.tensor([1])).int().tolist()
        [[0, 0, 1, 1, 1]]
    """

    owner: Tensor

    def __init__(self, counts: Sequence[int], *, num_classes: int) -> None:
        super().__init__()
        self.counts = tuple(counts) * num_classes if len(counts) == 1 else tuple(counts)
        if len(self.counts) != num_classes or min(self.counts) < 1:
            expected = f"one number of sub-classes for all, or one for each of {num_classes} classes, each >= 1"
            raise ConfigError(expected, ", ".join(map(str, counts)) or "none", "give as many as there are classes")
        owner = torch.arange(num_classes).repeat_interleave(torch.tensor(self.counts))
        self.register_buffer("owner", owner, persistent=False)

    @property
    def total(self) -> int:
        """``K``, the number of all sub-classes."""
        return sum(self.counts)

    def mask(self, labels: Int[Tensor, " n"]) -> Bool[Tensor, "n total"]:
        """Return which sub-classes are those of each image's class."""
        return labels.unsqueeze(1) == self.owner

    def spread(
        self, logits: Float[Tensor, "n total"], labels: Int[Tensor, " n"], *, leak: float = 0.0
    ) -> Float[Tensor, "n total"]:
        r"""Return probabilities over the sub-classes of each image's class, exactly zero for all others.

        .. math:: q_k = \frac{M_k e^{z_k}}{\sum_j M_j e^{z_j}}, \qquad M_k = 1 \text{ in the class, } 0 \text{ outside.}

        Computed in float32 at least, from differences to the largest logit of the class, so that nothing overflows.

        Args:
            logits: ``z``.
            labels: the class of each image.
            leak: ``M`` outside the class. Of 1e-8, an outside logit that is 20 above the class's takes most of the
                probability.

        Source: Liu, Davison, Johns, Self-Supervised Generalisation with Meta Auxiliary Learning, NeurIPS 2019 (arXiv
        1901.08933), as its released code has it, where ``M`` is 1e-8 outside.
        """
        wide = logits.float() if logits.dtype.itemsize < 4 else logits
        outside = math.log(leak) if leak else -math.inf
        return torch.softmax(torch.where(self.mask(labels), wide, wide + outside), dim=1)

    def uniform(self, labels: Int[Tensor, " n"]) -> Float[Tensor, "n total"]:
        """Return equal probabilities for the sub-classes of each image's class: label smoothing within it."""
        mask = self.mask(labels).float()
        return mask / mask.sum(dim=1, keepdim=True)

    def place(self, labels: Int[Tensor, " n"], within: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Return the number of a sub-class from its class and its place within the class."""
        counts = torch.tensor(self.counts, device=labels.device)
        return (counts.cumsum(0) - counts)[labels] + within

    def draw(self, labels: Int[Tensor, " n"], *, generator: torch.Generator) -> Int[Tensor, " n"]:
        """Return a place within its class for each image, drawn at random, all of a class's as likely."""
        draws = torch.rand(len(labels), generator=generator, dtype=torch.float64)
        return (draws * torch.tensor(self.counts)[labels]).long()

    def shuffle(
        self, values: Int[Tensor, " n"], labels: Int[Tensor, " n"], *, generator: torch.Generator
    ) -> Int[Tensor, " n"]:
        """Return the values, exchanged at random among the images of each class: as many of each, of other images."""
        mixed = values.clone()
        for number in range(len(self.counts)):
            own = (labels == number).nonzero().flatten()
            mixed[own] = values[own[torch.randperm(len(own), generator=generator)]]
        return mixed

    def rank(self, values: Int[Tensor, " n"], labels: Int[Tensor, " n"], *, column: str) -> Int[Tensor, " n"]:
        """Return the place of each image's value among those of its class, in the order of the values.

        Args:
            values: of a column of the data, each of which belongs to one class.
            labels: the class of each image.
            column: its name, for messages.

        Raises:
            DataError: a value belongs to several classes, or a class has more values than sub-classes.
        """
        within = torch.zeros_like(labels)
        num_owners = torch.tensor([len(labels[values == value].unique()) for value in values.unique()])
        if (num_owners > 1).any():
            got = f"{int((num_owners > 1).sum())} of {len(num_owners)} values in several classes"
            raise DataError(f"a column {column} whose values lie within one class each", got, "name another column")
        for number, count in enumerate(self.counts):
            is_member = labels == number
            found, within[is_member] = values[is_member].unique(return_inverse=True)
            if len(found) > count:
                got = f"{len(found)} values of {column} in class {number} of {count} sub-classes"
                raise DataError("a sub-class for every value of a class", got, "raise sub-classes")
        return within

    def require_members(self, labels: Int[Tensor, " n"]) -> None:
        """Refuse classes that cannot be divided into their number of clusters.

        Raises:
            DataError: a class has fewer images than sub-classes.
        """
        for number, (found, count) in enumerate(
            zip(labels.bincount(minlength=len(self.counts)), self.counts, strict=True)
        ):
            if found < count:
                got = f"{found} images in class {number} of {count} sub-classes"
                raise DataError("as many images as sub-classes in every class", got, "lower sub-classes")

    def cluster(self, features: Float[Tensor, "n dim"], labels: Int[Tensor, " n"], *, seed: int) -> Int[Tensor, " n"]:
        """Return the cluster of each image among those of its class, by k-means on features.

        Raises:
            DataError: a class has fewer images than sub-classes.
        """
        from sklearn.cluster import KMeans

        self.require_members(labels)
        within = torch.zeros_like(labels)
        for number, count in enumerate(self.counts):
            rows = features[labels == number].double().numpy()
            found = KMeans(count, n_init=10, random_state=seed % 2**32).fit_predict(rows)
            within[labels == number] = torch.from_numpy(found).long()
        return within


class LabelStatistics(NamedTuple):
    """What labels of a joined batch say of its images, in nats; detached.

    Args:
        entropy: mean entropy of the images' labels: 0 where each image has one label, the logarithm of the number of
            sub-classes where the labels say nothing.
        information: mutual information of label and image within the classes: 0 where all images of a class have the
            same label, and so also where all labels are uniform.
        num_used: sub-classes in use, as the mean over the classes of e to the entropy of their mean label.
    """

    entropy: Float[Tensor, ""]
    information: Float[Tensor, ""]
    num_used: Float[Tensor, ""]


def negative_entropy(probabilities: Float[Tensor, "*any total"]) -> Float[Tensor, "*any"]:
    """Return the sum of ``p log p`` over the last dimension, with a finite slope at zero."""
    return (probabilities * probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()).sum(dim=-1)


def mean_by_class(
    probabilities: Float[Tensor, "n total"],
    labels: Int[Tensor, " n"],
    *,
    num_classes: int,
    join: Callable[[Tensor], Tensor],
) -> tuple[Float[Tensor, "classes total"], Float[Tensor, " classes"]]:
    """Return the mean label of each class and how many images it has; zeros where it has none.

    Args:
        probabilities: a label for each image; attached or not.
        labels: the class of each image.
        num_classes: how many there are.
        join: adds a tensor up over the processes.
    """
    members = functional.one_hot(labels, num_classes).to(probabilities)
    counts = join(members.sum(dim=0))
    return join(members.T @ probabilities) / counts.clamp_min(1).unsqueeze(1), counts


@torch.no_grad()
def center_by_class(
    values: Float[Tensor, "n total"],
    labels: Int[Tensor, " n"],
    *,
    num_classes: int,
    join: Callable[[Tensor], Tensor],
) -> Float[Tensor, "n total"]:
    """Return values less their mean over the images of the same class; called as :func:`mean_by_class` is."""
    return values - mean_by_class(values, labels, num_classes=num_classes, join=join)[0][labels]


def mean_label_entropy_loss(
    probabilities: Float[Tensor, "n total"],
    labels: Int[Tensor, " n"],
    *,
    num_classes: int,
    join: Callable[[Tensor], Tensor],
    over: Literal["batch", "class"] = "batch",
) -> Float[Tensor, ""]:
    """Return the negative entropy of the mean label, attached; called as :func:`mean_by_class` is.

    It is lowest where all sub-classes are used equally often, be the single labels sure or not.

    Args:
        probabilities: a label for each image.
        labels: the class of each image.
        num_classes: how many there are.
        join: adds a tensor up over the processes, with its gradient.
        over: take the mean label over the batch, or over each class of it and then the mean by the classes' sizes.
    """
    means, counts = mean_by_class(probabilities, labels, num_classes=num_classes, join=join)
    share = counts / counts.sum()
    return negative_entropy(share @ means) if over == "batch" else share @ negative_entropy(means)


@torch.no_grad()
def describe_labels(
    probabilities: Float[Tensor, "n total"],
    labels: Int[Tensor, " n"],
    *,
    num_classes: int,
    join: Callable[[Tensor], Tensor],
) -> LabelStatistics:
    """Return whether labels mean anything; called as :func:`mean_by_class` is."""
    means, counts = mean_by_class(probabilities, labels, num_classes=num_classes, join=join)
    share = counts / counts.sum()
    spread = -negative_entropy(means)
    entropy = join(negative_entropy(probabilities).sum()).abs() / counts.sum()  # a plain minus makes -0
    is_there = (counts > 0).to(spread)
    used = (spread.exp() * is_there).sum() / is_there.sum()
    return LabelStatistics(entropy, ((share * spread).sum() - entropy).clamp_min(0), used)
