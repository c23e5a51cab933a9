"""From images to embeddings and from both views' embeddings to one loss: what the pretexts share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.interfaces import PretextLoss
from auxo.options import Range
from auxo.pretexts._pairs import Pair, PairConfig
from auxo.random import derive_seed, global_seed
from auxo.types import Images


@dataclass(frozen=True, kw_only=True)
class ProjectorConfig(PairConfig):
    """Options of a pretext that compares what a projector makes of the pooled features."""

    hidden: Annotated[int, Range(low=1)] = 256
    """Width of the hidden layers of the projector, and of byol's predictor; the papers have 2048 to 8192."""
    outputs: Annotated[int, Range(low=2)] = 256
    """Length of an embedding; the papers have 128 to 8192."""
    num_layers: Annotated[int, Range(low=2)] = 3
    """Linear layers of the projector, and of byol's predictor; all but the last with batch norm and ReLU."""


def perceptron(options: ProjectorConfig, stream: str, num_inputs: int, *, seed: int) -> nn.Sequential:
    """Return linear layers with batch norm and ReLU between them, initialised from the stream ``init/<stream>``.

    No layer has a bias: batch norm would take it out again, and the last has none either.

    Args:
        options: give widths and depth.
        stream: ``"projector"`` or ``"predictor"``.
        num_inputs: length of a row that comes in.
        seed: the run's seed.
    """
    layers: list[nn.Module] = []
    with global_seed(derive_seed(seed, "init", stream)):
        for _ in range(options.num_layers - 1):
            layers += [nn.Linear(num_inputs, options.hidden, bias=False), nn.BatchNorm1d(options.hidden), nn.ReLU()]
            num_inputs = options.hidden
        return nn.Sequential(*layers, nn.Linear(num_inputs, options.outputs, bias=False))


def in_float32(rows: Tensor) -> Tensor:
    """Return the rows in float32 if they have fewer bits, as they come under autocast."""
    return rows.float() if rows.dtype.itemsize < 4 else rows


def embed(backbone: nn.Module, projector: nn.Module, images: Images) -> Float[Tensor, "batch dim"]:
    """Return the embeddings of images, at least float32, attached to the graph."""
    return in_float32(projector(backbone(images).pooled))


def compare(
    backbone: nn.Module, projector: nn.Module, pair: Pair, loss: Callable[[Tensor, Tensor], Tensor]
) -> PretextLoss:
    """Return ``loss`` of both views' embeddings in the joined batch, computed outside autocast.

    Args:
        backbone: returns :class:`auxo.types.Features`.
        projector: behind it.
        pair: the views.
        loss: maps two tensors of shape ``(joined batch, dim)`` to a scalar.
    """
    first = embed(backbone, projector, pair.first)
    second = embed(backbone, projector, pair.second)
    with torch.autocast(first.device.type, enabled=False):
        joined = pair.gather(torch.cat([first, second], 1))  # one message for both
        return PretextLoss(loss(*joined.chunk(2, 1)), first.detach())


def unit_rows(rows: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
    """Return each row over its length, up to rounding; a row of zeros stays and has finite second derivatives."""
    smallest = torch.finfo(rows.dtype).eps ** 2
    return rows * torch.rsqrt(rows.square().sum(1, keepdim=True) + smallest)
