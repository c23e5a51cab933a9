"""What a pretext on two views is: from two views of the same images to one loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from auxo.errors import ShapeError
from auxo.interfaces import AbstractPretextModule, DrawFrom, PretextConfig
from auxo.runtime import Runtime
from auxo.types import Batch, Batches, Images


def _keep_rows(rows: Tensor) -> Tensor:
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
    gather: Callable[[Tensor], Tensor] = _keep_rows

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
    if runtime.num_processes > 1 and len(batch) < 2 and not runtime.config.sync_batch_norm:
        fix = "pass --runtime.sync-batch-norm, or choose another batch size"
        raise ShapeError("two images or more in every process, without synchronised batch norm", str(len(batch)), fix)
    return join_rows(runtime, batch)


def join_rows(runtime: Runtime, batch: Batch) -> Callable[[Tensor], Tensor]:
    """Return the function of :func:`gather_from`, for what may have any number of images.

    Args:
        runtime: see there.
        batch: see there.
    """
    if runtime.num_processes == 1:
        return _keep_rows
    before, after = batch.first, batch.joined_size - batch.first - len(batch)

    def gather(rows: Tensor) -> Tensor:
        return runtime.differentiable_sum(functional.pad(rows, (0, 0, before, after)))

    return gather


@dataclass(frozen=True, kw_only=True)
class PairConfig(PretextConfig):
    """Options of a pretext that compares two views of an image."""

    augmentations: ClassVar[Mapping[str, str | None]] = {"first": "simclr", "second": "simclr_second"}


class AbstractPairModule(AbstractPretextModule[Pair]):
    """Heads that two views of an image are compared by.

    Each view goes through the network in a forward pass of its own, so batch norm sees it alone. What compares the
    embeddings is computed in float32 also under autocast. The loss is equal in every process.
    """

    def prepare(self, batches: Batches, *, draws: DrawFrom, runtime: Runtime) -> Pair:
        """Return the views ``first`` and ``second`` as a pair whose rows are gathered over the processes.

        Raises:
            ShapeError: see :class:`Pair` and :func:`gather_from`.
        """
        del draws  # the views are drawn by the input pipeline
        return Pair(batches["first"].images, batches["second"].images, gather_from(runtime, batches["first"]))
