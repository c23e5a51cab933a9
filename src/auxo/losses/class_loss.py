"""The loss of a class head by configuration: which one, its class weights, and when they set in."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.errors import ConfigError
from auxo.layers.heads import HeadKind
from auxo.losses.class_weights import effective_number_weights
from auxo.losses.cross_entropy import cross_entropy_losses
from auxo.losses.focal import focal_losses
from auxo.losses.ldam import ldam_losses, ldam_margins
from auxo.runtime import Runtime
from auxo.types import Batch, Labels, Losses, require_choice

_Name: TypeAlias = Literal["cross_entropy", "ldam", "focal"]
_ClassWeights: TypeAlias = Literal["none", "effective_number"]


@dataclass(frozen=True, kw_only=True)
class ClassLossConfig:
    """Which loss a class head learns by."""

    name: _Name = "cross_entropy"
    """Cross-entropy; LDAM (needs a cosine head), whose margin is larger for rarer classes; or focal loss."""
    max_margin: float = 0.5
    """Margin of the rarest class in LDAM, in units of a cosine, in [0, 2]."""
    scale: float = 30.0
    """Factor on the outputs of a cosine head before the softmax, > 0; a linear head has none."""
    gamma: float = 1.0
    """Exponent of the focal loss, >= 0; 0 is cross-entropy, detection takes 2, long-tailed classification 1."""
    class_weights: _ClassWeights = "none"
    """Weights of the samples by the number of training images of their class: all one, or by effective number."""
    beta: float = 0.9999
    """Of the effective number, in [0, 1); nearer to 1 the weights are nearer to the inverse of the counts."""
    reweight_after: float = 0.8
    """Part of the stage, in [0, 1), after which class weights set in (deferred re-weighting); before, all are one."""

    def __post_init__(self) -> None:
        require_choice("class-loss.name", self.name, _Name)
        require_choice("class-loss.class-weights", self.class_weights, _ClassWeights)
        checks = (
            (0 <= self.max_margin <= 2, "class-loss.max-margin in [0, 2]", self.max_margin),
            (0 < self.scale < math.inf, "class-loss.scale > 0 and finite", self.scale),
            (0 <= self.gamma < math.inf, "class-loss.gamma >= 0 and finite", self.gamma),
            (0 <= self.beta < 1, "class-loss.beta in [0, 1)", self.beta),
            (0 <= self.reweight_after < 1, "class-loss.reweight-after in [0, 1)", self.reweight_after),
        )
        for is_valid, expected, got in checks:
            if not is_valid:
                raise ConfigError(expected, str(got), "choose a value in that range")

    def check_head(self, head: str) -> None:
        """Refuse a head that the loss cannot read.

        Raises:
            ConfigError: there is no such kind, or LDAM has a head whose outputs are no cosines.
        """
        require_choice("head", head, HeadKind)
        if self.name == "ldam" and head != "cosine":
            raise ConfigError("a cosine head with the loss ldam", f"a {head} one", "pass --method.head cosine")

    def build(self, class_counts: tuple[int, ...], *, head: HeadKind = "linear") -> "ClassLoss":
        """Return the loss.

        Args:
            class_counts: training images of each class; only LDAM and class weights need them.
            head: the kind whose outputs the loss will read.

        Raises:
            ConfigError: the counts are needed and not known, a class has no training image, or the head does not fit.
        """
        self.check_head(head)
        is_weighted = self.class_weights != "none"
        if self.name == "ldam" or is_weighted:
            self._check_counts(class_counts)
        counts = class_counts
        return ClassLoss(
            self,
            margins=ldam_margins(counts, max_margin=self.max_margin) if self.name == "ldam" else None,
            weights=effective_number_weights(counts, beta=self.beta) if is_weighted else None,
            scale=self.scale if head == "cosine" else 1.0,
        )

    def _check_counts(self, class_counts: tuple[int, ...]) -> None:
        """Refuse counts that give no margins and no weights."""
        what = "the loss ldam" if self.name == "ldam" else "class weights"
        if not class_counts:
            raise ConfigError(f"training images per class for {what}", "none", "take the task from splits.task()")
        if min(class_counts) < 1:
            got = f"none of class {class_counts.index(min(class_counts))}"
            raise ConfigError(f"training images of every class for {what}", got, "add images, or leave the class out")


class ClassLoss:
    """Per-sample losses of a class head; built by :class:`ClassLossConfig`.

    Cross-entropy and LDAM with weights follow ``torch.nn.CrossEntropyLoss(weight=w)``, which the papers use: the
    weighted mean divides by the sum of the weights, ``sum_i w_{y_i} l_i / sum_i w_{y_i}``. Focal loss with weights
    divides by the number of samples. Before the weights set in both are the plain mean.

    Args:
        config: which loss.
        margins: shape ``(classes,)``, float64; of LDAM.
        weights: shape ``(classes,)``, float64; of the classes, once they set in.
        scale: factor on the head's outputs before the softmax.
    """

    def __init__(
        self,
        config: ClassLossConfig,
        *,
        margins: Float[Tensor, " classes"] | None = None,
        weights: Float[Tensor, " classes"] | None = None,
        scale: float = 1.0,
    ) -> None:
        self.config = config
        self.scale = scale
        self._margins = None if margins is None else _PerClass(margins)
        self._weights = None if weights is None else _PerClass(weights)

    def logits(self, outputs: Tensor) -> Tensor:
        """Return what a softmax turns into probabilities: a cosine head's outputs scaled, others as they are."""
        return outputs if self.scale == 1 else self.scale * outputs

    def weights(self, labels: Labels, *, progress: float, dtype: torch.dtype = torch.float32) -> Losses | None:
        """Return the weight of every sample, shape ``(n,)``; ``None`` where all are one.

        Args:
            labels: shape ``(n,)``; int64.
            progress: part of the stage that is done, in [0, 1): :attr:`auxo.interfaces.TrainState.progress`.
            dtype: of the weights.
        """
        if self._weights is None or progress < self.config.reweight_after:
            return None
        return self._weights.on(labels.device, dtype)[labels]

    def __call__(
        self,
        outputs: Float[Tensor, "n classes"],
        labels: Labels,
        *,
        progress: float,
        mean_weight: Float[Tensor, ""] | None = None,
    ) -> Losses:
        """Return per-sample losses whose mean is the published (weighted) mean.

        Exact in one process. In several, ``batch.mean`` of these losses averages the weighted means of the processes'
        own parts; :meth:`mean` is exact there, too.

        Args:
            outputs: shape ``(n, classes)``; of the class head as it gives them, not scaled.
            labels: shape ``(n,)``; int64.
            progress: part of the stage that is done, in [0, 1).
            mean_weight: what the weights are divided by; default their mean over these samples. Without effect on
                focal loss and where all weights are one.

        Returns:
            Shape ``(n,)``, attached to the graph.
        """
        losses = self._unweighted(outputs, labels)
        weights = self.weights(labels, progress=progress, dtype=losses.dtype)
        if weights is None:
            return losses
        if self.config.name != "focal":
            weights = weights / (weights.mean() if mean_weight is None else mean_weight)
        return weights * losses

    def mean(
        self, outputs: Float[Tensor, "n classes"], batch: Batch, *, progress: float, runtime: Runtime
    ) -> Float[Tensor, ""]:
        """Return the published (weighted) mean over the joined batch, up to averaging over processes.

        It is ``batch.mean`` of :meth:`joined`, with its arguments.
        """
        return batch.mean(self.joined(outputs, batch, progress=progress, runtime=runtime))

    def joined(self, outputs: Float[Tensor, "n classes"], batch: Batch, *, progress: float, runtime: Runtime) -> Losses:
        """Return per-sample losses whose ``batch.mean`` is the published (weighted) mean over the joined batch.

        Exact in any number of processes, which first agree on the mean weight of the joined batch; one small message
        for each batch, and none while all weights are one.

        Args:
            outputs: shape ``(batch, classes)``; of the class head as it gives them.
            batch: this process's part.
            progress: part of the stage that is done, in [0, 1).
            runtime: the processes.

        Returns:
            Shape ``(batch,)``, attached to the graph.
        """
        weights = self.weights(batch.labels, progress=progress, dtype=_computed_in(outputs))
        mean_weight = None if weights is None else runtime.mean([batch.mean(weights)])[0]
        return self(outputs, batch.labels, progress=progress, mean_weight=mean_weight)

    def _unweighted(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the losses before class weights."""
        if self._margins is not None:
            margins = self._margins.on(outputs.device, _computed_in(outputs))
            return ldam_losses(outputs, labels, margins=margins, scale=self.scale)
        if self.config.name == "focal":
            return focal_losses(self.logits(outputs), labels, gamma=self.config.gamma)
        return cross_entropy_losses(self.logits(outputs), labels)


def _computed_in(outputs: Tensor) -> torch.dtype:
    """Return the dtype of the losses of outputs: float32 where theirs is lower."""
    return outputs.dtype if outputs.dtype.itemsize >= 4 else torch.float32


class _PerClass:
    """One number per class, converted once for every device and dtype.

    Not a buffer of a module: those are averaged over the processes, which would round constants anew at every step.
    """

    def __init__(self, values: Tensor) -> None:
        self._values = values
        self._ready: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def on(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the numbers on a device."""
        if (device, dtype) not in self._ready:
            self._ready[device, dtype] = self._values.to(dtype).to(device)
        return self._ready[device, dtype]
