"""The loss of a head that gives a class to every pixel: cross-entropy and Dice, of which unknown pixels are no part."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor
from torch.nn import functional

from auxo.errors import ConfigError, OptionError, ShapeError
from auxo.losses._class_loss import PerClass
from auxo.losses._class_weights import effective_number_weights
from auxo.options import Options, Range
from auxo.runtime import Runtime

IGNORE = 255
"""The value of pixels of which a map of classes says nothing."""


def pixel_cross_entropy_losses(
    logits: Float[Tensor, "n classes height width"], labels: Integer[Tensor, "n rows columns"], *, ignore: int = IGNORE
) -> Float[Tensor, "n rows columns"]:
    """Return ``-log softmax(logits)[label]`` of every pixel, and 0 where the label is unknown.

    Computed in float32 when the logits are of lower precision.

    Args:
        logits: shape ``(n, classes, height, width)``.
        labels: shape ``(n, height, width)``; of any integer type; unknown where they are ``ignore`` or negative.
        ignore: the value of unknown pixels, beside negative ones.

    Returns:
        Nats, attached to the graph.

    Raises:
        ShapeError: the logits have another height and width than the labels.

    Example:
        >>> labels = torch.tensor([[[2, 255]]], dtype=torch.uint8)
        >>> pixel_cross_entropy_losses(torch.zeros(1, 4, 1, 2), labels).exp()
        tensor([[[4., 1.]]])
    """
    _check_places(logits, labels)
    wide = logits if logits.dtype.itemsize >= 4 else logits.float()
    right = torch.where(find_known(labels, ignore=ignore), labels.long(), -1)
    return functional.cross_entropy(wide, right, ignore_index=-1, reduction="none")


def find_known(labels: Integer[Tensor, "n height width"], *, ignore: int = IGNORE) -> Shaped[Tensor, "n height width"]:
    """Return which pixels have a label: those that are not negative, and not ``ignore``."""
    return (labels != ignore) & (labels >= 0)


def mean_over_known(
    values: Float[Tensor, "n height width"], weights: Shaped[Tensor, "n height width"], *, runtime: Runtime
) -> Float[Tensor, ""]:
    """Return ``sum(weights values) / sum(weights)`` over the joined batch, up to averaging over processes.

    The plain average of what the processes get, and of its gradients, is the mean over the joined batch, however many
    known values each has. It is 0 where the weights of the joined batch are all 0. One small message.

    Args:
        values: of this process's part.
        weights: of the same shape; >= 0, 0 for values that do not count; without a gradient.
        runtime: the processes.

    Example:
        >>> from auxo.runtime import Runtime, RuntimeConfig
        >>> known = torch.tensor([[[True, True, False]]])
        >>> runtime = Runtime(RuntimeConfig(), torch.device("cpu"))
        >>> mean_over_known(torch.tensor([[[1.0, 3.0, 9.0]]]), known, runtime=runtime)
        tensor(2.)
    """
    wide = weights.to(values.dtype)
    total = runtime.sum(wide.sum())
    # Values that do not count may be infinite, which times 0 is not a number.
    summed = (wide * torch.where(wide > 0, values, 0)).sum()
    return summed * runtime.num_processes / torch.where(total > 0, total, 1)


def pixel_dice_loss(
    logits: Float[Tensor, "n classes height width"],
    labels: Integer[Tensor, "n height width"],
    *,
    runtime: Runtime,
    ignore: int = IGNORE,
) -> Float[Tensor, ""]:
    r"""Return one minus the mean soft Dice coefficient of the classes that the joined batch shows.

    With ``p`` the softmax probabilities and ``y`` the indicators of the right class, summed over the known pixels of
    all images, the coefficient of class c is ``2 sum p_c y_c / (sum p_c + sum y_c)``. Classes that no known pixel of
    the joined batch has are left out: their coefficient is 0 whatever the network says.

    Args:
        logits: shape ``(n, classes, height, width)``.
        labels: as of :func:`pixel_cross_entropy_losses`.
        runtime: the processes, which add up their sums; every process gets the joined loss.
        ignore: the value of unknown pixels, beside negative ones.

    Returns:
        In [0, 1], attached to the graph; 0 where no pixel is known.

    Source: Milletari, Navab, Ahmadi, V-Net, 3DV 2016, section 3 (arXiv 1606.04797), with sums in place of sums of
        squares in the denominator, and a mean over classes.
    """
    _check_places(logits, labels)
    probs = (logits if logits.dtype.itemsize >= 4 else logits.float()).softmax(1)
    is_known = find_known(labels, ignore=ignore)
    # Not one_hot, whose int64 would take twice the memory of the probabilities.
    right = torch.zeros_like(probs).scatter_(1, torch.where(is_known, labels.long(), 0).unsqueeze(1), 1)
    right *= is_known.unsqueeze(1)
    both = (probs * right).sum((0, 2, 3))
    given = (probs * is_known.unsqueeze(1)).sum((0, 2, 3))
    sums = runtime.differentiable_sum(torch.stack([both, given, right.sum((0, 2, 3))]))
    is_shown = sums[2] > 0
    coefficients = 2 * sums[0] / torch.where(is_shown, sums[1] + sums[2], 1)
    return (is_shown * (1 - coefficients)).sum() / is_shown.sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class PixelLossConfig(Options):
    """What a head that gives a class to every pixel learns by."""

    cross_entropy: Annotated[float, Range(low=0)] = 1.0
    """Weight of the mean cross-entropy of the known pixels."""
    dice: Annotated[float, Range(low=0)] = 0.0
    """Weight of the Dice loss, which counts small and large classes alike."""
    class_weights: Literal["none", "inverse_frequency", "effective_number", "given"] = "none"
    """Weights of the pixels in the cross-entropy by their class: all one; by the inverse of the number of training
    pixels; by the inverse of their effective number; or as in weights. The mean divides by the sum of the weights."""
    beta: Annotated[float, Range(low=0, below=1)] = 0.9999999
    """Of the effective number; pixels are many, so that the 0.9999 of images would make all classes equal."""
    weights: tuple[Annotated[float, Range(low=0)], ...] = ()
    """One weight for each class, in their order, with class_weights given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cross_entropy and not self.dice:
            raise OptionError("cross_entropy", "or dice above 0", "0 for both", "give one of them a weight")
        if (self.class_weights == "given") != bool(self.weights):
            got = f"{len(self.weights)} weights with {self.class_weights}"
            raise OptionError("weights", "with class_weights given, and only then", got, "give both or none")

    def build(self, class_names: Sequence[str], *, pixel_counts: tuple[int, ...], ignore: int = IGNORE) -> "PixelLoss":
        """Return the loss.

        Args:
            class_names: of the classes, in their order.
            pixel_counts: training pixels of each class; needed by weights that follow from them.
            ignore: the value of unknown pixels, beside negative ones.

        Raises:
            ConfigError: counts are needed and not known.
            OptionError: there are not as many weights as classes, or none is above 0.
        """
        weights = self._find_weights(class_names, pixel_counts)
        return PixelLoss(self, weights=weights, ignore=ignore)

    def _find_weights(self, class_names: Sequence[str], counts: tuple[int, ...]) -> Float[Tensor, " classes"] | None:
        """Return the weight of every class, of the mean 1 where they follow from counts; ``None`` where all are 1."""
        if self.class_weights == "none":
            return None
        if self.class_weights == "given":
            if len(self.weights) != len(class_names) or not any(self.weights):
                rule = f"of {len(class_names)} numbers, not all 0, one for each of {', '.join(class_names)}"
                raise OptionError("weights", rule, ",".join(map(str, self.weights)), "give one for each class")
            return torch.tensor(self.weights, dtype=torch.float64)
        if len(counts) != len(class_names) or not any(counts):
            got = f"{counts or 'none'} of {len(class_names)} classes"
            raise ConfigError("training pixels per class for class weights", got, "take the task from splits.task()")
        weights = torch.zeros(len(counts), dtype=torch.float64)  # of a class without a pixel, which weighs nothing
        shown = [place for place, count in enumerate(counts) if count]
        of_shown = [counts[place] for place in shown]
        if self.class_weights == "effective_number":
            weights[shown] = effective_number_weights(of_shown, beta=self.beta)
        else:
            inverse = 1 / torch.tensor(of_shown, dtype=torch.float64)
            weights[shown] = inverse * len(shown) / inverse.sum()
        return weights


class PixelLoss:
    """The loss of a head that gives a class to every pixel; built by :class:`PixelLossConfig`.

    ``cross_entropy * CE + dice * Dice``, where CE is ``sum_i w_{y_i} l_i / sum_i w_{y_i}`` over the known pixels i of
    the joined batch, and Dice is :func:`pixel_dice_loss`. An image counts by its known pixels.

    Args:
        config: which terms.
        weights: shape ``(classes,)``, float64; of the classes; ``None`` where all are one.
        ignore: the value of unknown pixels, beside negative ones.
    """

    def __init__(
        self, config: PixelLossConfig, *, weights: Float[Tensor, " classes"] | None = None, ignore: int = IGNORE
    ) -> None:
        self.config = config
        self.ignore = ignore
        self._weights = None if weights is None else PerClass(weights)

    def __call__(
        self,
        logits: Float[Tensor, "n classes height width"],
        labels: Integer[Tensor, "n height width"],
        *,
        runtime: Runtime,
    ) -> Float[Tensor, ""]:
        """Return the loss of the joined batch, up to averaging over processes; 0 where no pixel is known.

        Args:
            logits: of this process's part.
            labels: of the same images; unknown where they are ``ignore`` or negative.
            runtime: the processes; a message or two where there are several.
        """
        terms = []
        if self.config.cross_entropy:
            losses = pixel_cross_entropy_losses(logits, labels, ignore=self.ignore)
            weights = self.weigh(labels, dtype=losses.dtype)
            terms.append(self.config.cross_entropy * mean_over_known(losses, weights, runtime=runtime))
        if self.config.dice:
            dice = pixel_dice_loss(logits, labels, runtime=runtime, ignore=self.ignore)
            terms.append(self.config.dice * dice)
        return torch.stack(terms).sum()

    def weigh(
        self, labels: Integer[Tensor, "n height width"], *, dtype: torch.dtype
    ) -> Float[Tensor, "n height width"]:
        """Return the weight of every pixel: that of its class, and 0 where it is unknown."""
        is_known = find_known(labels, ignore=self.ignore)
        if self._weights is None:
            return is_known.to(dtype)
        own = self._weights.on(labels.device, dtype)[torch.where(is_known, labels.long(), 0)]
        return own * is_known


def _check_places(logits: Tensor, labels: Tensor) -> None:
    """Refuse logits of another height and width than the labels."""
    if (len(logits), *logits.shape[2:]) != tuple(labels.shape):
        expected = f"logits of the shape (n, classes, height, width) for labels of {tuple(labels.shape)}"
        raise ShapeError(expected, str(tuple(logits.shape)), "enlarge the logits to the size of the images")
