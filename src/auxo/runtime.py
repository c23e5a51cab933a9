"""The machine a run uses: device, precision, compilation, processes. The only user of ``torch.distributed``."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.distributed as dist
import tyro
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.optim import Optimizer

from auxo.errors import ConfigError, DeviceError, is_out_of_memory
from auxo.layers.batch_norm import SynchronisedBatchNorm2d
from auxo.options import Options, Range
from auxo.types import GradientParts


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig(Options):
    """Which device to use and how."""

    device: Annotated[str, tyro.conf.arg(aliases=["--device"])] = "auto"
    """"auto" (CUDA, then MPS, then the CPU), "cpu", "cuda", "cuda:1", "mps"."""
    threads: Annotated[int, Range(low=0, high=1024)] = 0
    """CPU threads of one process; 0 leaves torch's choice. Results are equal to the bit only for equal threads."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Autocast precision of the forward passes; "auto" is bf16 on GPUs that have it, else float32."""
    channels_last: bool = True
    """Store images and convolution weights channel by channel within a pixel, which is faster and changes rounding."""
    compile: bool = False
    """Compile every network with torch.compile; slow to start, faster after, changes rounding."""
    keep_memory: bool = True
    """On Linux with glibc, keep freed memory for the next step instead of giving it back to the system page by page:
    faster on the CPU and the same numbers. Holds for the whole process, from the moment the runtime is opened."""
    sync_batch_norm: bool = True
    """With several processes, compute batch-norm statistics over the joined batch."""


@dataclass(frozen=True)
class Runtime:
    """The opened device and process group.

    Args:
        config: what was asked for.
        device: where weights and batches live.
        autocast_dtype: precision of forward passes, or ``None`` for the weights' own.
        rank: this process's number, from 0.
        num_processes: how many processes train together.
        max_norm: norm that the gradients of a step are scaled down to if theirs is larger; ``None`` never.
        parts: of the batch of a step, whose gradients are collected before it; ``None`` steps on each loss.
    """

    config: RuntimeConfig
    device: torch.device
    autocast_dtype: torch.dtype | None = None
    rank: int = 0
    num_processes: int = 1
    max_norm: float | None = None
    parts: GradientParts | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks to the user."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context for forward passes; losses are computed outside it, in float32."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)

    def prepare(self, module: nn.Module, *, networks: Iterable[nn.Module]) -> None:
        """Move a module to the device in place and apply memory format, synchronised batch norm and compilation.

        Args:
            module: a method.
            networks: parts of it, those that are compiled.
        """
        if self.num_processes > 1 and self.config.sync_batch_norm:
            SynchronisedBatchNorm2d.convert(module, all_reduce=self.differentiable_sum)
        module.to(self.device)
        if self.config.channels_last:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
        if self.config.compile:
            for network in networks:
                network.compile()

    def to_device(self, images: Tensor) -> Tensor:
        """Move a batch of images to the device in the memory format of the run."""
        images = images.to(self.device, non_blocking=True)
        return images.contiguous(memory_format=torch.channels_last) if self.config.channels_last else images

    def step(self, optimizer: Optimizer, loss: Float[Tensor, ""]) -> None:
        """Backpropagate, average over the processes, and step; see :meth:`apply`.

        Gradients of parameters outside ``optimizer`` are neither computed nor touched. Parameters that ``loss``
        does not reach, or that ask for no gradient, keep ``grad = None`` and are left as they are, momentum and weight
        decay included.

        Args:
            optimizer: the one to step.
            loss: scalar made with :meth:`auxo.types.Batch.mean`.
        """
        self.step_together([optimizer], loss)

    def step_together(self, optimizers: Sequence[Optimizer], loss: Float[Tensor, ""]) -> None:
        """Step several optimisers by one backward pass and one message; see :meth:`step`.

        Stepping them in turn would pass through the graph once for each, of weights that have moved.

        Args:
            optimizers: of different parameters.
            loss: as of :meth:`step`.
        """
        parameters = [parameters_of(optimizer) for optimizer in optimizers]
        moved = [each for members in parameters for each in members if each.requires_grad]
        gradients: Sequence[Tensor | None] = torch.autograd.grad(loss, moved, allow_unused=True)
        if self.parts is not None:
            self.parts.add(gradients)
            if not self.parts.is_complete:
                return
            gradients = self.parts.gradients
        found = dict(zip(moved, self._scale_down(self.mean(gradients)), strict=True))
        for optimizer, members in zip(optimizers, parameters, strict=True):
            self.apply(optimizer, [found.get(each) for each in members])

    def _scale_down(self, gradients: list[Tensor | None]) -> list[Tensor | None]:
        """Return gradients of at most the norm that is allowed, all together."""
        if self.max_norm is None:
            return gradients
        norm = nn.utils.get_total_norm([each for each in gradients if each is not None])
        factor = (self.max_norm / (norm + _SMALL)).clamp(max=1.0)
        return [None if each is None else each * factor for each in gradients]

    def apply(self, optimizer: Optimizer, gradients: Sequence[Tensor | None], *, max_norm: float | None = None) -> None:
        """Replace the optimiser's gradients and step.

        Args:
            optimizer: the one to step.
            gradients: one for each of :func:`parameters_of` the optimiser, the same in every process; ``None`` leaves
                the parameter as it is.
            max_norm: norm of all gradients together that they are scaled down to if it is larger; ``None`` never.
        """
        optimizer.zero_grad(set_to_none=True)
        parameters = parameters_of(optimizer)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            # One memory layout for a weight, its gradient and its momentum: kernels round alike whether a run was
            # resumed or not, and its grouped (foreach) kernels apply.
            if gradient is not None and gradient.stride() != parameter.stride():
                gradient = torch.empty_like(parameter).copy_(gradient)
            parameter.grad = gradient
        if max_norm is not None:
            nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()

    def mean(self, tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
        """Average tensors over the processes in one message per dtype; ``None`` stays ``None``.

        Every process must pass the same shapes, and ``None`` in the same places.
        """
        averaged = list(tensors)
        if self.num_processes == 1:
            return averaged
        for dtype in dict.fromkeys(t.dtype for t in averaged if t is not None):  # one order in every process
            places = [i for i, t in enumerate(averaged) if t is not None and t.dtype == dtype]
            members = [t for i in places if (t := averaged[i]) is not None]
            flat = torch.cat([t.reshape(-1) for t in members])
            dist.all_reduce(flat)
            pieces = (flat / self.num_processes).split([t.numel() for t in members])
            for i, member, piece in zip(places, members, pieces, strict=True):
                averaged[i] = piece.view(member.shape)
        return averaged

    def mean_of(self, tensor: Tensor) -> Tensor:
        """Return the average of one tensor over the processes."""
        (averaged,) = self.mean([tensor])
        return tensor if averaged is None else averaged

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over the processes, without a gradient; in a single process the tensor itself."""
        if self.num_processes == 1:
            return tensor
        total = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    def sum_count(self, count: int) -> int:
        """Return the sum of a whole number over the processes."""
        return count if self.num_processes == 1 else int(self.sum(torch.tensor(count, device=self.device)))

    def differentiable_sum(self, tensor: Tensor) -> Tensor:
        """Sum over the processes, with the sum of the gradients as backward."""
        return tensor if self.num_processes == 1 else _sum_over_processes(tensor)

    def barrier(self) -> None:
        """Wait for the other processes."""
        if self.num_processes > 1:
            dist.barrier()

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` is true in any process."""
        if self.num_processes == 1:
            return flag
        message = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(message, op=dist.ReduceOp.MAX)
        return bool(message.item())

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the main process, then in the others: for files that one process makes and all read."""
        if not self.is_main:
            self.barrier()
        yield
        if self.is_main:
            self.barrier()


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """Return the parameters of all groups of an optimiser, in order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class _SumOverProcesses(torch.autograd.Function):
    """A sum over the processes with derivatives of every order, forwards and backwards."""

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def setup_context(_ctx: object, _inputs: tuple[Tensor], _output: Tensor) -> None:
        """Keep nothing: the sum is linear."""

    @staticmethod
    def backward(_ctx: object, gradient: Tensor) -> Tensor:
        return _sum_over_processes(gradient)

    @staticmethod
    def jvp(_ctx: object, tangent: Tensor) -> Tensor:
        return _sum_over_processes(tangent)


@contextmanager
def naming_memory(use: str, *, fix: str) -> Iterator[None]:
    """Say what memory was for where it runs out within the block.

    Args:
        use: what needs it, such as the number and size of images.
        fix: what the user can do.

    Raises:
        DeviceError: there is not enough.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        got = next(iter(str(error).splitlines()), "none left")[:120]
        raise DeviceError(f"memory for {use}", got, fix) from error


def use_threads(count: int) -> None:
    """Compute with so many CPU threads from now on."""
    torch.set_num_threads(count)


def read_variable(name: str, *, default: int) -> int:
    """Return an environment variable of a launcher, a whole number >= 0.

    Raises:
        ConfigError: it is something else.
    """
    text = os.environ.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > _MOST_DIGITS:
        fix = "unset it, or start with torchrun --nproc-per-node N -m auxo"
        raise ConfigError(f"a whole number in the environment variable {name}", ascii(text[:40]), fix)
    return int(text)


_MOST_DIGITS = 6
_SMALL = 1e-6  # as in torch's clip_grad_norm_
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_SIGNS_OF_A_LOST_PROCESS = ("gloo", "NCCL", "Connection closed", "Connection reset", "Timed out waiting")


_sum_over_processes: Callable[[Tensor], Tensor] = _SumOverProcesses.apply


def _choose_device(name: str, local_rank: int) -> torch.device:
    """Resolve a device name, "auto" included, and check that it is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError("a device such as auto, cpu, cuda, cuda:1 or mps", repr(name), "name one of them") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError("a device of type cpu, cuda or mps", repr(name), "name one of them")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        index = local_rank if device.index is None else device.index
        if index >= count:
            raise DeviceError(f"CUDA device {index}", f"{count} CUDA devices", "pass --device cpu, or see auxo doctor")
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("an MPS device", "none on this machine", "pass --device cpu, or see auxo doctor")
    return device


def _choose_autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast dtype for a device."""
    if precision == "float32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bf16 else None


def _keep_freed_memory() -> None:
    """Tell glibc's allocator neither to map large blocks apart nor to trim its heap; other systems are left alone."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _join(backend: str) -> None:
    """Join the process group that the environment describes.

    After a restart by torchrun the store still holds the addresses of the processes that died, so every attempt keeps
    its keys under a prefix of its own.
    """
    store, rank, num_processes = next(rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    own_keys = PrefixStore(attempt, store)
    dist.init_process_group(backend, store=own_keys, rank=rank, world_size=num_processes)


@contextmanager
def open_runtime(config: RuntimeConfig) -> Iterator[Runtime]:
    """Open the device, and the process group if ``torchrun`` started this process; close the group at the end.

    Raises:
        ConfigError: the environment variables of a launcher make no sense.
        DeviceError: the device is not there, or the processes cannot find each other.
    """
    num_processes, rank = read_variable("WORLD_SIZE", default=1), read_variable("RANK", default=0)
    if not rank < num_processes:
        fix = "unset both, or start with torchrun --nproc-per-node N -m auxo"
        raise ConfigError("RANK below WORLD_SIZE in the environment", f"{rank} of {num_processes}", fix)
    device = _choose_device(config.device, read_variable("LOCAL_RANK", default=0))
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.keep_memory and device.type == "cpu":
        _keep_freed_memory()
    if num_processes > 1:
        try:
            _join(backend="nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError, dist.DistError) as error:
            raise DeviceError(
                f"{num_processes} processes to find each other",
                str(error).splitlines()[0],
                "start them with torchrun --nproc-per-node N -m auxo, on a free port (--master-port)",
            ) from error
    try:
        yield Runtime(
            config=config,
            device=device,
            autocast_dtype=_choose_autocast(config.precision, device),
            rank=rank,
            num_processes=num_processes,
        )
        if num_processes > 1:
            dist.barrier()  # or one that leaves first may break what another has not heard yet
    except RuntimeError as error:
        if num_processes > 1 and any(sign in str(error) for sign in _SIGNS_OF_A_LOST_PROCESS):
            fix = "see what the process that failed first says, then --resume"
            raise DeviceError("all processes to stay until the end", "one that left", fix) from error
        raise
    finally:
        if num_processes > 1:
            dist.destroy_process_group()
