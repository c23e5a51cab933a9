"""The loss of a class head: what all have in common, its class weights, and when they set in."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.errors import ConfigError
from auxo.layers.heads import HeadKind
from auxo.losses._class_weights import effective_number_weights
from auxo.options import FamilyOptions, Range
from auxo.runtime import Runtime
from auxo.types import Batch, Labels, Losses, require_choice

SampleLosses: TypeAlias = Callable[[Tensor, Labels], Losses]
"""Per-sample losses of a head's outputs and the labels, before :meth:`ClassLossConfig.weigh_losses`."""


@dataclass(frozen=True, kw_only=True)
class ClassLossConfig(FamilyOptions):
    """Which loss a class head learns by; each loss has options of its own beside these."""

    family = "losses"
    needs_counts: ClassVar[bool] = False
    """Whether it asks for the number of training images of each class."""
    needs_cosines: ClassVar[bool] = False
    """Whether it reads a cosine head only."""
    divides_by_weights: ClassVar[bool] = True
    """Whether its weighted mean divides by the sum of the weights instead of the number of samples."""

    smooths_labels: ClassVar[bool] = False
    """Whether it has a form for smoothed labels."""

    scale: Annotated[float, Range(above=0)] = 30.0
    """Factor on the outputs of a cosine head before the softmax; a linear head has none."""
    class_weights: Literal["none", "effective_number"] = "none"
    """Weights of the samples by the number of training images of their class: all one, or by effective number."""
    beta: Annotated[float, Range(low=0, below=1)] = 0.9999
    """Of the effective number; nearer to 1 the weights are nearer to the inverse of the counts."""
    reweight_after: Annotated[float, Range(low=0, below=1)] = 0.8
    """Part of the stage after which class weights set in (deferred re-weighting); before, all are one."""

    @abstractmethod
    def build_losses(self, class_counts: tuple[int, ...], *, scale: float, smoothing: float = 0.0) -> SampleLosses:
        """Return what gives per-sample losses, attached to the graph.

        Args:
            class_counts: training images of each class, all >= 1; empty unless the loss needs them.
            scale: factor on the head's outputs before the softmax.
            smoothing: of the labels, see :func:`cross_entropy_losses`; 0 unless the loss ``smooths_labels``.
        """

    def weigh_losses(self, losses: Losses, weights: Losses | None) -> Losses:
        """Return the losses that are learned by.

        Args:
            losses: of every sample, from :meth:`build_losses`.
            weights: of every sample; ``None`` where all are one.
        """
        return losses if weights is None else weights * losses

    @property
    def refused_tuning(self) -> Mapping[str, str]:
        """Options of :class:`auxo.optimizers.TuningConfig` that the loss has no form for, with the reasons."""
        found = {} if self.smooths_labels else {"label_smoothing": f"the loss {self.name} has no smoothed form"}
        if self.class_weights != "none" and self.divides_by_weights:
            found["accumulate"] = "weights of classes divide by their sum over the batch"
        return found

    def check_head(self, head: str) -> None:
        """Refuse a head that the loss cannot read.

        Raises:
            ConfigError: there is no such kind, or the loss reads cosines and the head has none.
        """
        require_choice("head", head, HeadKind)
        if self.needs_cosines and head != "cosine":
            raise ConfigError(f"a cosine head with the loss {self.name}", f"a {head} one", "pass --method.head cosine")

    def build(self, class_counts: tuple[int, ...], *, head: HeadKind = "linear", smoothing: float = 0.0) -> "ClassLoss":
        """Return the loss.

        Args:
            class_counts: training images of each class; only some losses and class weights need them.
            head: the kind whose outputs the loss will read.
            smoothing: of the labels.

        Raises:
            ConfigError: the counts are needed and not known, a class has no training image, the head does not fit, or
                the loss cannot smooth labels.
        """
        self.check_head(head)
        if smoothing and not self.smooths_labels:
            fix = f"leave it out: {self.refused_tuning['label_smoothing']}"
            raise ConfigError("smoothing 0 of labels", f"{smoothing:g}", fix)
        is_weighted = self.class_weights != "none"
        if self.needs_counts or is_weighted:
            self._check_counts(class_counts)
        scale = self.scale if head == "cosine" else 1.0
        return ClassLoss(
            self,
            losses=self.build_losses(class_counts, scale=scale, smoothing=smoothing),
            weights=effective_number_weights(class_counts, beta=self.beta) if is_weighted else None,
            scale=scale,
        )

    def _check_counts(self, class_counts: tuple[int, ...]) -> None:
        """Refuse counts that give no margins and no weights."""
        what = f"the loss {self.name}" if self.needs_counts else "class weights"
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
        losses: of each sample, before class weights.
        weights: shape ``(classes,)``, float64; of the classes, once they set in.
        scale: factor on the head's outputs before the softmax.
    """

    def __init__(
        self,
        config: ClassLossConfig,
        *,
        losses: SampleLosses,
        weights: Float[Tensor, " classes"] | None = None,
        scale: float = 1.0,
    ) -> None:
        self.config = config
        self.scale = scale
        self._losses = losses
        self._weights = None if weights is None else PerClass(weights)

    def logits(self, outputs: Tensor) -> Tensor:
        """Return what a softmax turns into probabilities: a cosine head's outputs scaled, others as they are."""
        return scale_outputs(outputs, self.scale)

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
        losses = self._losses(outputs, labels)
        weights = self.weights(labels, progress=progress, dtype=losses.dtype)
        if weights is not None and self.config.divides_by_weights:
            weights = weights / (weights.mean() if mean_weight is None else mean_weight)
        return self.config.weigh_losses(losses, weights)

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
        weights = self.weights(batch.labels, progress=progress, dtype=computed_in(outputs))
        mean_weight = None if weights is None else runtime.mean([batch.mean(weights)])[0]
        return self(outputs, batch.labels, progress=progress, mean_weight=mean_weight)


def scale_outputs(outputs: Tensor, scale: float) -> Tensor:
    """Return outputs times a scale; as they are where it is 1."""
    return outputs if scale == 1 else scale * outputs


def computed_in(outputs: Tensor) -> torch.dtype:
    """Return the dtype of the losses of outputs: float32 where theirs is lower."""
    return outputs.dtype if outputs.dtype.itemsize >= 4 else torch.float32


class PerClass:
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
