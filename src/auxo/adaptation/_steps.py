"""Adaptations by gradient steps: options, the order of images, and the steps themselves."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.adaptation._interface import AdaptationConfig, Setting
from auxo.adaptation._statistics import find_batch_norms, mix_target
from auxo.errors import NonFiniteError
from auxo.layers.modes import evaluation_mode
from auxo.options import Range
from auxo.random import named_generator


@dataclass(frozen=True, kw_only=True)
class StepConfig(AdaptationConfig):
    """What adaptations by gradient steps have in common."""

    mixing: Annotated[float, Range(low=0, high=1)] = 0.5
    """Weight of the target in the statistics of batch norm, which are mixed before the first step, as batch_norm does,
    and stay; networks without batch norm have none."""
    images: Annotated[int, Range(low=2)] = 500
    """Images that the statistics are of, at most; all images take part in the steps."""
    epochs: Annotated[int, Range(low=1)] = 1
    """Passes over the images."""
    images_per_step: Annotated[int, Range(low=1, high=65536)] = 64
    """Images of a step."""
    lr: Annotated[float, Range(above=0)] = 1e-3
    """Learning rate of a step."""

    def mix_first(self, setting: Setting) -> dict[str, int]:
        """Mix the statistics of batch norm, if there is any, and return how many images and layers those are."""
        if not find_batch_norms(setting.reader.method):
            return {}
        return mix_target(setting, mixing=self.mixing, images=self.images)

    def list_batches(self, setting: Setting) -> Iterator[Int[Tensor, " batch"]]:
        """Yield positions of the target's images, in an order of the seed, in batches whose sizes differ by one."""
        count = len(setting.target)
        for epoch in range(self.epochs):
            order = torch.randperm(count, generator=named_generator(setting.seed, "adapt", epoch))
            yield from order.tensor_split(-(-count // self.images_per_step))


def predict_target(setting: Setting, indices: Int[Tensor, " batch"]) -> Float[Tensor, "batch classes"]:
    """Return the outputs of the head that predicts for images of the target, attached to the graph."""
    reader = setting.reader
    return reader.outputs(reader.inputs(setting.target.fetch(indices)))[reader.require_head()].float()


def follow_loss(
    setting: Setting,
    optimizer: Optimizer,
    batches: Iterator[Int[Tensor, " batch"]],
    loss: Callable[[Int[Tensor, " batch"]], Float[Tensor, ""]],
) -> dict[str, float | int]:
    """Step down a loss batch by batch, and return the number of steps, and the first and the last loss.

    The network is in evaluation mode, so that batch norm normalises by what is stored, in steps as in use.

    Args:
        setting: the network; what the optimiser has not is left alone.
        optimizer: of what is to move.
        batches: of positions of the target's images.
        loss: of a batch; a scalar, the same in every process.

    Raises:
        NonFiniteError: a loss is not finite.
    """
    losses: list[Tensor] = []
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    with evaluation_mode(setting.reader.method), _asking_gradients(parameters):
        for indices in batches:
            value = loss(indices)
            setting.reader.runtime.step(optimizer, value)
            losses.append(value.detach())
    found = torch.stack(losses)
    if not found.isfinite().all():
        got = f"{float(found[~found.isfinite()][0])}"
        raise NonFiniteError(f"a finite loss on {setting.target.name}", got, "pass a lower --lr")
    return {"steps": len(losses), "first_loss": float(found[0]), "last_loss": float(found[-1])}


@contextmanager
def _asking_gradients(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let parameters ask for gradients within the block, also those that the run's training left as they were."""
    before = [each.requires_grad for each in parameters]
    for each in parameters:
        each.requires_grad_(True)
    try:
        yield
    finally:
        for each, value in zip(parameters, before, strict=True):
            each.requires_grad_(value)


def measure_entropies(outputs: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Return the entropy of the softmax of every row, in nats."""
    log_probs = outputs.log_softmax(1)
    return -(log_probs.exp() * log_probs).sum(1)
