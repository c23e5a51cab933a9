"""A gate outside auxo that asks for all that one may: it learns the weights after which the class loss is lowest.

With shared weights ``theta``, gradients ``g_t`` of the tasks and ``w = softmax(s)``, one step leads to
``theta' = theta - r sum_t w_t g_t``. The logits ``s`` follow the gradient of the class loss at ``theta'`` on images of
the gate's own, in which ``g_t`` is held fixed.
"""

from dataclasses import dataclass

import torch
from torch import nn

from auxo.gates import AbstractGate, GateConfig, GateResult
from auxo.interfaces import View


class LookAhead(AbstractGate):
    """Weights by their effect on other images, one step ahead."""

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options."""

        rate: float = 0.1
        """Length of the step ahead."""

        @property
        def view(self):
            return View(stream="gate", ratio=0.5)

        def build(self, *, num_features, num_outputs, seed):
            return LookAhead(self, len(num_outputs))

    def __init__(self, config, num_tasks):
        super().__init__()
        self.config = config
        self.logits = nn.Parameter(torch.zeros(num_tasks))

    def forward(self, losses, features, step):
        weights = self.logits.softmax(0)
        outcome = self.look_ahead(weights, step.gradients(losses), step)
        (slope,) = torch.autograd.grad(outcome, weights)
        slope = step.runtime.mean_of(slope)
        pull = weights @ slope  # its gradient in the logits is that of the outcome
        weighed = step.batch.mean((losses * weights.detach()).sum(1))
        return GateResult(weighed + (pull - pull.detach()), weights.detach())

    def look_ahead(self, weights, gradients, step):
        """The class loss on the gate's own images after a step on the weighted losses."""
        moved = (self.config.rate * (weights @ gradients)).split([value.numel() for value in step.shared.values()])
        ahead = {
            name: value.detach() - part.view_as(value)
            for (name, value), part in zip(step.shared.items(), moved, strict=True)
        }
        return step.own.mean(step.losses_at(ahead, step.own).primary)
