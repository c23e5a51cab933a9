"""Supervised training on mixed images: the loss is cross-entropy with soft labels, and others are refused."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.errors import OptionError
from auxo.interfaces import TrainState
from auxo.losses.focal import Focal
from auxo.methods.gssl import GSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import TuningConfig
from auxo.runs import Networks
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.tasks import Classification
from auxo.types import Batch


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_update__mixed_images__has_the_loss_of_soft_labels(smoothing, runtime):
    task = Classification(("a", "b", "c"), 3, 28, 28, class_counts=(4, 4, 4), label_smoothing=smoothing)
    method = Supervised.Config().build(Networks(BackboneConfig(), task, seed=0))
    images = torch.randn(6, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    labels, others = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([1, 0, 0, 2, 2, 1])
    part = torch.tensor([1.0, 0.3, 0.5, 0.9, 0.0, 0.25])
    with torch.no_grad():
        log_probs = method.head_logits(images)["semantic"].log_softmax(1)
    soft = torch.zeros(6, 3)
    soft[range(6), labels] += part
    soft[range(6), others] += 1 - part
    soft = (1 - smoothing) * soft + smoothing / 3
    expected = -(soft * log_probs).sum(1).mean()
    targets = {"label": labels, "mixed_label": others, "mixed_part": part}
    state = TrainState(method.optimizers(), {}, 0, num_steps=1, steps_per_epoch=1)
    found = method.update(state, {"train": Batch(images, targets, torch.arange(6))}, runtime)
    torch.testing.assert_close(found["classification_loss"], expected)


@pytest.mark.parametrize("method", [GSSL.Config(), Supervised.Config(class_loss=Focal())])
@pytest.mark.parametrize("option", ["mixup", "cutmix"])
def test_experiment_config__mixing_with_one_label_for_each_image__is_refused(method, option):
    tuning = TuningConfig(**{option: 0.5})
    with pytest.raises(
        OptionError, match=rf"tuning\.{option} 0 with .*, because its loss takes one label for each image"
    ):
        ExperimentConfig(stages=(StageConfig(method=method, tuning=tuning),))
    ExperimentConfig(stages=(StageConfig(method=Supervised.Config(), tuning=tuning),))
