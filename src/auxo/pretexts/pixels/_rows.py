"""From maps of features in several processes to rows of the joined batch."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import ShapeError
from auxo.pretexts.pixels._sampling import PixelSample, PixelSampling, draw_pixels, shrink_labels
from auxo.random import Draws, derive_seed, global_seed
from auxo.runtime import Runtime
from auxo.types import Batch


class JoinedSample(NamedTuple):
    """Pixels of the joined batch, equal in every process.

    Args:
        drawn: the pixels.
        images: which image of the data each is of.
    """

    drawn: PixelSample
    images: Int[Tensor, " samples"]


def draw_jointly(
    labels: Int[Tensor, "batch _ _"],
    size: tuple[int, int],
    *,
    sampling: PixelSampling,
    batch: Batch,
    draws: Draws,
    runtime: Runtime,
) -> JoinedSample:
    """Draw pixels of the joined batch, in every process the same; one message of all labels at the features' size."""
    small = shrink_labels(labels, size).long()
    table = torch.cat([small.flatten(1), batch.indices.to(small.device).unsqueeze(1)], 1)
    if runtime.num_processes > 1:
        before, after = batch.first, batch.joined_size - batch.first - len(batch)
        table = runtime.sum(functional.pad(table, (0, 0, before, after)))
    drawn = draw_pixels(table[:, :-1].unflatten(1, size), sampling=sampling, draws=replace(draws, first=0))
    return JoinedSample(drawn, table[:, -1][drawn.images])


def pick_rows(
    features: Float[Tensor, "batch channels height width"], sample: PixelSample, batch: Batch
) -> Float[Tensor, "own channels"]:
    """Return the features of the drawn pixels of this process's images, in their order."""
    images = sample.images - batch.first
    is_own = (images >= 0) & (images < len(batch))
    places, width = sample.places[is_own], features.shape[3]
    return features[images[is_own], :, places // width, places % width]


def join_own(rows: Float[Tensor, "own dim"], sample: PixelSample, batch: Batch, runtime: Runtime) -> Tensor:
    """Return the rows of all processes, differentiable; each process gives those of its own images."""
    if runtime.num_processes == 1:
        return rows
    before = int((sample.images < batch.first).sum())
    after = len(sample.images) - before - len(rows)
    return runtime.differentiable_sum(functional.pad(rows, (0, 0, before, after)))


def pixel_projector(num_channels: int, *, num_layers: int, outputs: int, seed: int) -> nn.Sequential:
    """Return layers on rows, which on a map would be convolutions of one pixel; from the stream ``init/projector``.

    Hidden layers are as wide as what comes in, with batch norm and ReLU. Without layers there is nothing.

    Args:
        num_channels: length of a row that comes in.
        num_layers: of them; all but the last are hidden.
        outputs: length of a row that comes out.
        seed: the run's seed.
    """
    layers: list[nn.Module] = []
    with global_seed(derive_seed(seed, "init", "projector")):
        for _ in range(num_layers - 1):  # batch norm would take a bias out again
            hidden = nn.Linear(num_channels, num_channels, bias=False)
            layers += [hidden, nn.BatchNorm1d(num_channels), nn.ReLU()]
        if num_layers:
            layers.append(nn.Linear(num_channels, outputs))
    return nn.Sequential(*layers)


def check_rows(rows: Tensor, runtime: Runtime) -> None:
    """Refuse rows that batch norm of a single process cannot average over.

    Raises:
        ShapeError: there are fewer than two in a process, and batch norm is not synchronised.
    """
    if runtime.num_processes > 1 and len(rows) < 2 and not runtime.config.sync_batch_norm:
        fix = "pass --runtime.sync-batch-norm, or choose another batch size"
        raise ShapeError(
            "two drawn pixels or more in every process, without synchronised batch norm", str(len(rows)), fix
        )
