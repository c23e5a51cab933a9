"""The pooled features of a whole split, in every process."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

from auxo.data import EvaluationSplit, InputPipeline, TrainSplit
from auxo.errors import DataError, NonFiniteError
from auxo.evaluation.evaluate import (
    blank_image,
    device_batches,
    evaluation_mode,
    has_class_head,
    sum_over_processes,
)
from auxo.evaluation.observe import features_of
from auxo.interfaces import AbstractMethod
from auxo.runtime import Runtime

__all__ = ["FeatureReader", "LabelledFeatures"]


class LabelledFeatures(NamedTuple):
    """The features of a split.

    Args:
        features: shape ``(n, dim)``; float64.
        labels: shape ``(n,)``; int64.
    """

    features: Float[np.ndarray, "n dim"]
    labels: Int[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class FeatureReader:
    """Reads the pooled features that a method predicts from, or its backbone's where it has no class head.

    Args:
        method: trained; in evaluation mode while it is read from, and left as it was.
        pipeline: normalises a batch on the device; nothing is augmented.
        runtime: device and processes.
        batch_size: images of one forward pass.
        workers: processes that decode a streaming source, >= 0.
    """

    method: AbstractMethod
    pipeline: InputPipeline
    runtime: Runtime
    batch_size: int
    workers: int = 0

    def read(self, split: TrainSplit | EvaluationSplit) -> LabelledFeatures:
        """Return the features of a split; each process reads its own part, and all return the whole.

        Raises:
            ConfigError: the method predicts without calling a backbone.
            DataError: the split has no image.
            NonFiniteError: a feature is not a finite number.

        Cost: one forward pass over the images, and the memory of all features, twice with several processes.
        """
        method, runtime, count = self.method, self.runtime, len(split.source)
        if count == 0:
            raise DataError(f"images in {split.name}", "none", "give a set that is not empty")
        predicts = has_class_head(method, runtime)
        with evaluation_mode(method), torch.inference_mode():
            with runtime.autocast():
                one = features_of(method, blank_image(method, runtime), predicts=predicts).pooled
            pooled = torch.zeros(count, one.shape[1], device=runtime.device)
            for raw in device_batches(split, runtime, batch_size=self.batch_size, workers=self.workers):
                images = self.pipeline(raw, seed=None).images
                with runtime.autocast():
                    found = features_of(method, images, predicts=predicts).pooled
                pooled[raw.indices.to(runtime.device)] = found.float()
            pooled = sum_over_processes(pooled, runtime)
        if not pooled.isfinite().all():
            fix = "the weights have diverged; train again with a lower learning rate"
            raise NonFiniteError(f"finite features on {split.name}", "some that are not", fix)
        return LabelledFeatures(pooled.cpu().double().numpy(), split.source.labels.numpy())
