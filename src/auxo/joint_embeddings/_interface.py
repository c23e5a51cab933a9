"""What a pretext on two views is: from two views of the same images to one loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import ShapeError
from auxo.runtime import Runtime
from auxo.types import Batch, Images


class PairLoss(NamedTuple):
    """What comparing two views gives.

    Args:
        loss: scalar attached to the graph; of the joined batch over all processes, equal in every process. Its gradient
            in one process is not yet that of one process which holds the joined batch; the plain average over the
            processes is, and so it is with every higher derivative.
        embeddings: this process's first view behind the projector, shape ``(batch, dim)``; detached, at least float32.
    """

    loss: Float[Tensor, ""]
    embeddings: Float[Tensor, "batch dim"]


def _alone(rows: Tensor) -> Tensor:
    """Return the rows: one process holds the joined batch."""
    return rows


@dataclass(frozen=True)
class Pair:
    """Two views of the same images in the same order, this process's part.

    Args:
        first: shape ``(batch, channels, height, width)``, normalised.
        second: the same images under other augmentations; the same number of them.
        gather: maps this process's rows, shape ``(batch, dim)``, to those of the joined batch, differentiable any
            number of times; see :func:`gather_from`. By default the rows themselves: one process.

    Raises:
        ShapeError: the views have different numbers of images.
    """

    first: Images
    second: Float[Tensor, "_batch channels height width"]
    gather: Callable[[Tensor], Tensor] = _alone

    def __post_init__(self) -> None:
        if len(self.first) != len(self.second):
            got = f"{len(self.first)} and {len(self.second)} images"
            raise ShapeError("two views of the same images", got, "show every image in both views")


def gather_from(runtime: Runtime, batch: Batch) -> Callable[[Tensor], Tensor]:
    """Return the function that gathers rows of all processes in the order of the joined batch.

    Each process puts its rows where its images stand in the joined batch, zeros elsewhere, and the processes add up.
    The sum's backward is a sum again, so derivatives of every order are right: where every process computes the same
    loss from the gathered rows, gradients averaged over the processes are those of one process, and so are products
    with the Hessian. Parts may differ in size.

    Args:
        runtime: sums over the processes; every process must call.
        batch: says where this process's images stand.

    Raises:
        ShapeError: an image would have nothing to be compared with, or batch norm nothing to average over.
    """
    if batch.joined_size < 2:
        fix = "choose a batch size that leaves more images in an epoch's last batch, or pass --drop-last"
        raise ShapeError("two images or more to compare", str(batch.joined_size), fix)
    if runtime.num_processes == 1:
        return _alone
    if len(batch) < 2 and not runtime.config.sync_batch_norm:
        fix = "pass --runtime.sync-batch-norm, or choose another batch size"
        raise ShapeError("two images or more in every process, without synchronised batch norm", str(len(batch)), fix)
    before, after = batch.first, batch.joined_size - batch.first - len(batch)

    def gather(rows: Tensor) -> Tensor:
        return runtime.differentiable_sum(functional.pad(rows, (0, 0, before, after)))

    return gather


def pair_of(first: Batch, second: Batch, runtime: Runtime) -> Pair:
    """Return two views of the same images as a pair whose rows are gathered over the processes.

    Args:
        first: a view.
        second: the same images under other augmentations.
        runtime: sums over the processes.

    Raises:
        ShapeError: see :class:`Pair` and :func:`gather_from`.
    """
    return Pair(first.images, second.images, gather_from(runtime, first))


class AbstractJointEmbedding(nn.Module, ABC):
    """Heads that two views of an image are compared by; the backbone is passed in."""

    @abstractmethod
    def forward(self, backbone: nn.Module, pair: Pair) -> PairLoss:
        """Return the loss of a pair of views, twice differentiable.

        Each view goes through the network in a forward pass of its own, so batch norm sees it alone. May run under
        autocast; what compares the embeddings is computed in float32 all the same.

        Args:
            backbone: returns :class:`auxo.types.Features`; ``pooled`` is read.
            pair: the views.
        """

    def follow(self, backbone: nn.Module, *, progress: float) -> None:
        """Move what follows the trained weights; called once before each training step's forward pass.

        By default nothing does.

        Args:
            backbone: the trained one.
            progress: part of the training that is done, in [0, 1].
        """

    def restart(self, backbone: nn.Module) -> None:
        """Put what follows the trained weights where they are; by default nothing follows."""

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parameters that no gradient reaches, by name, each with the reason; none by default."""
        return {}
