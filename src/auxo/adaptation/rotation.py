"""Test-time training: the backbone learns the quarter turns of the new images, under the run's own rotation head."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.adaptation._interface import Setting
from auxo.adaptation._steps import StepConfig, follow_loss
from auxo.errors import ConfigError
from auxo.estimation.indicators import rotation_head

SOURCE = """\
Sun, Wang, Liu, Miller, Efros & Hardt, Test-Time Training with Self-Supervision for Generalization under Distribution
Shifts, ICML 2020 (https://arxiv.org/abs/1909.13231): a network that was trained jointly with rotation prediction
takes steps of plain SGD at 0.001 on the rotation loss of what it is to answer, in the shared layers and the rotation
head. There a step is of augmented copies of one image, whose answer follows, and normalisation is by groups. Ours:
steps are of many images in all four turns, all images are seen before one is answered, and statistics of batch norm
are mixed first and stay.
"""


@dataclass(frozen=True, kw_only=True)
class RotationAdaptation(StepConfig):
    """How the backbone follows."""

    def require(self, setting: Setting) -> None:
        """Refuse a run without a head that tells quarter turns of whole images."""
        if rotation_head(setting.reader.method) is None:
            got = f"none in {type(setting.reader.method).__name__}"
            fix = "train with ossl, or with joint_training --pretext.name rotation"
            raise ConfigError("a head that tells quarter turns of whole images", got, fix)

    def adapt(self, setting: Setting) -> Mapping[str, float | int]:
        """Mix the statistics, then step down the loss of the rotation head."""
        facts, reader = self.mix_first(setting), setting.reader
        optimizer = torch.optim.SGD(reader.method.trained_parameters(), lr=self.lr)
        head = rotation_head(reader.method)
        if head is None:
            raise ValueError("expected a run with a rotation head, got another: call require first")

        def measure_loss(indices: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
            made = head.pretext.make_all(reader.inputs(setting.target.fetch(indices)))
            with reader.runtime.autocast():
                outputs = head.answer(made.inputs)
            return head.pretext.loss(outputs.float(), made.targets).mean()

        return {**facts, **follow_loss(setting, optimizer, self.list_batches(setting), measure_loss)}
