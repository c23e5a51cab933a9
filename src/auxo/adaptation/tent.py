"""Scales and shifts of batch norm step down the entropy of the predictions, after the statistics are mixed."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from auxo.adaptation._interface import Setting
from auxo.adaptation._statistics import find_batch_norms, require_batch_norms
from auxo.adaptation._steps import StepConfig, follow_loss, measure_entropies, predict_target
from auxo.errors import ConfigError

SOURCE = """\
Wang, Shelhamer, Liu, Olshausen & Darrell, Tent: Fully Test-Time Adaptation by Entropy Minimization, ICLR 2021
(https://arxiv.org/abs/2006.10726): the mean entropy of the predictions is minimised in the scales and shifts of batch
norm, by Adam at 0.001. There each batch is normalised by its own statistics, in steps and in use, and answered while it
is learned from. Ours: statistics are mixed once, as batch_norm does, and stay; all images are seen before one is
answered; they are drawn in another order in every epoch.
"""


@dataclass(frozen=True, kw_only=True)
class TentAdaptation(StepConfig):
    """How statistics are mixed, and how scales and shifts follow."""

    def require(self, setting: Setting) -> None:
        """Refuse a network without batch norm that has scales and shifts."""
        require_batch_norms(setting)
        if not _find_affine(setting):
            got, fix = "layers without scales and shifts, or frozen ones", "use batch_norm"
            raise ConfigError("batch norm with scales and shifts that can be trained", got, fix)

    def adapt(self, setting: Setting) -> Mapping[str, float | int]:
        """Mix the statistics, then step down the mean entropy."""
        facts = self.mix_first(setting)
        optimizer = torch.optim.Adam(_find_affine(setting), lr=self.lr)
        batches = self.list_batches(setting)
        stepped = follow_loss(
            setting, optimizer, batches, lambda indices: measure_entropies(predict_target(setting, indices)).mean()
        )
        return {**facts, **stepped}


def _find_affine(setting: Setting) -> list[nn.Parameter]:
    """Return the scales and shifts of batch norm."""
    layers = find_batch_norms(setting.reader.method).values()
    return [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
