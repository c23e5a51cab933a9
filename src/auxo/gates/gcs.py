"""Auxiliary tasks count for the shared weights while their gradient agrees with the primary task's."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from auxo.errors import ConfigError
from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep

SOURCE = (
    "Du et al., Adapting Auxiliary Losses Using Gradient Similarity, arXiv 1812.02224: the gradient of an auxiliary "
    "loss in the shared weights counts where its cosine with that of the primary loss is positive (the unweighted "
    "form), or times the positive part of that cosine (the weighted one). The unweighted form, with every auxiliary "
    "task judged alone and heads that always learn, as in the released baselines of AuxiLearn "
    "(github.com/AvivNavon/AuxiLearn); the paper's text was not opened. Ours: 1/M of M tasks in front of all losses."
)


class GCSGate(AbstractGate):
    r"""Weights ``[cos_t > 0] / M`` with the cosine of the gradients of task t and of the primary task.

    The gradients are those of the joined batch's mean losses in all shared weights. Where the primary task is among
    those that are weighed its weight is 1/M. Heads learn from their whole loss, 1/M, whatever the weight: a head that
    stops learning would give its task no chance to agree again.

    Args:
        config: options.

    Cost: one backward pass for each task and one for the primary task, beside the method's own. Memory: a gradient for
        each.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of the similarity of gradients."""

        weighted: bool = False
        """Weight an auxiliary task by its cosine where that is positive, instead of by 1."""

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse a backbone without gradients, which the gate compares."""
            return {"freeze_epochs": "the gate compares gradients in the backbone"}

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "GCSGate":
            """Return the gate."""
            del num_features, num_outputs, seed  # there are as many tasks as losses, and nothing is drawn
            return GCSGate(self)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.weighted = config.weighted

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss at weights without a gradient.

        Raises:
            ConfigError: the method does not say which weights are shared, or what the primary loss is.
        """
        del features  # the gradients are those in the shared weights
        if step.primary_loss is None:
            raise ConfigError("a method that says its primary loss", "none", "choose another gate")
        count = losses.shape[1]
        primary = step.gradient(step.primary_loss)
        cosines = torch.cosine_similarity(step.gradients(losses), primary[None], dim=1).clamp(0, 1)
        factors = cosines if self.weighted else (cosines > 0).to(cosines)
        if step.primary is not None:
            factors[step.primary] = 1.0
        factors = factors.to(losses)
        loss = step.batch.mean((losses * (factors / count)).sum(1))
        return GateResult(loss + self._teach_heads(losses, (1 - factors) / count, step), factors / count)

    def _teach_heads(
        self, losses: Float[Tensor, "samples tasks"], missing: Float[Tensor, " tasks"], step: GateStep
    ) -> Float[Tensor, ""]:
        """Return zero, whose gradient in the heads is that of the losses at the weights that they lack."""
        heads = [*step.heads.values()]
        total = losses.new_zeros(())
        if not heads or not step.learns:
            return total
        lacking = step.batch.mean((losses * missing).sum(1))
        gradients = torch.autograd.grad(lacking, heads, retain_graph=True, materialize_grads=True, allow_unused=True)
        for head, gradient in zip(heads, gradients, strict=True):
            total = total + (gradient * (head - head.detach())).sum()
        return total
