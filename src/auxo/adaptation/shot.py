"""The backbone steps to sure and diverse predictions under the head as it is, beside the labels of the source."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.adaptation._classes import doubt_classes
from auxo.adaptation._interface import Setting
from auxo.adaptation._steps import StepConfig, follow_loss, measure_entropies, predict_target
from auxo.data import TrainSplit
from auxo.errors import ConfigError
from auxo.options import Range
from auxo.random import named_generator

SOURCE = """\
Liang, Hu & Feng, Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain
Adaptation, ICML 2020 (https://arxiv.org/abs/2002.08546), the part called information maximisation (SHOT-IM): the head
is kept, and the backbone minimises the mean entropy of the predictions minus the entropy of their mean, by SGD with
momentum 0.9. Left out: pseudo-labels by clustering, label smoothing and weight normalisation in the training of the
source. Ours: cross-entropy of as many labelled images of the source beside it (source_weight 0 leaves it out, as
there), and statistics of batch norm that are mixed first and stay.
"""


@dataclass(frozen=True, kw_only=True)
class ShotAdaptation(StepConfig):
    """How the backbone follows."""

    epochs: Annotated[int, Range(low=1)] = 5
    """Passes over the images."""
    source_weight: Annotated[float, Range(low=0)] = 1.0
    """Weight of the cross-entropy of labelled training images; 0 needs none."""

    @property
    def needs_source(self) -> bool:
        """Whether training images count."""
        return self.source_weight > 0

    def require(self, setting: Setting) -> None:
        """Refuse to train on source images that are not there, and tasks without one class for each image."""
        setting.reader.require_answers("shot")
        if self.needs_source and setting.source is None:
            fix = "name their place with --moved, or pass --source-weight 0"
            raise ConfigError("the run's training images beside those to adapt to", "none", fix)

    def find_doubts(self, setting: Setting) -> list[str]:
        """Return that images are few, and that predicted classes are far from their proportions in training."""
        return [*super().find_doubts(setting), *doubt_classes(setting, mixing=self.mixing, images=self.images)]

    def adapt(self, setting: Setting) -> Mapping[str, float | int]:
        """Mix the statistics, then step."""
        facts = self.mix_first(setting)
        parameters = [*setting.reader.method.predicting_backbone.parameters()]
        optimizer = torch.optim.SGD(parameters, lr=self.lr, momentum=0.9)
        source = _draw_source(setting, self.images_per_step) if self.needs_source else None

        def measure_loss(indices: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
            outputs = predict_target(setting, indices)
            mean = outputs.softmax(1).mean(0)
            diversity = -(mean * mean.clamp(min=torch.finfo(mean.dtype).tiny).log()).sum()
            loss = measure_entropies(outputs).mean() - diversity
            if source is not None:
                loss = loss + self.source_weight * next(source)
            return loss

        return {**facts, **follow_loss(setting, optimizer, self.list_batches(setting), measure_loss)}


def _draw_source(setting: Setting, count: int) -> Iterator[Float[Tensor, ""]]:
    """Yield the mean loss of labelled training images, drawn without repeats within a batch, for ever."""
    reader, source = setting.reader, _require_source(setting).source
    generator = named_generator(setting.seed, "adapt", "source")
    while True:
        indices = torch.randperm(len(source), generator=generator)[:count]
        outputs = reader.outputs(reader.inputs(source.fetch(indices)))[reader.require_head()]
        targets = {name: values.to(outputs.device) for name, values in source.fetch_targets(indices).items()}
        yield reader.task.losses(outputs.float(), targets).mean()


def _require_source(setting: Setting) -> TrainSplit:
    """Return the training images, which :meth:`ShotAdaptation.require` has asked for."""
    if setting.source is None:
        raise ValueError("expected a setting with training images, got none: call require first")
    return setting.source
