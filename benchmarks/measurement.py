"""What the benchmarks share: worker processes, peak memory, operation counts, the convolution peak, tables."""

import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from auxo.interfaces import AbstractBackbone

__all__ = [
    "Pooled",
    "Remote",
    "Spread",
    "convolution_peak",
    "count_flops",
    "describe_load",
    "describe_machine",
    "load_reference",
    "markdown_table",
    "open_benchmark",
    "peak_bytes",
    "seconds",
    "time_in_turn",
]

_Key = TypeVar("_Key")
_REFERENCE = Path(__file__).parents[1] / "tests" / "reference"


class Pooled(nn.Module):
    """A backbone of auxo as a plain network from images to features.

    Args:
        backbone: gives the features.
    """

    def __init__(self, backbone: AbstractBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled features."""
        return self.backbone(images).pooled


def load_reference(name: str) -> Any:  # a module that is found by its path
    """Return a plain rendering of published code, one of the modules that the tests compare with."""
    sys.path.append(str(_REFERENCE))
    return importlib.import_module(name)


class Remote:
    """An object that lives in a process of its own, so that several can take turns without sharing a heap.

    Args:
        factory: makes the object; a function at the top of a module.
        arguments: for the factory; must survive pickling.
    """

    def __init__(self, factory: Callable[..., object], *arguments: object) -> None:
        context = get_context("spawn")
        self._connection, remote = context.Pipe()
        self._process = context.Process(target=_serve, args=(remote, factory, arguments), daemon=True)
        self._process.start()
        remote.close()

    def call(self, method: str, *arguments: object) -> Any:  # whatever the method returns
        """Run a method of the object and return its result.

        Raises:
            EOFError: the process died.
        """
        self._connection.send((method, arguments))
        return self._connection.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(connection: Connection, factory: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Build the object and answer calls until the other end closes."""
    target = factory(*arguments)
    while True:
        try:
            method, values = connection.recv()
        except EOFError:
            return
        connection.send(getattr(target, method)(*values))


def _synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(step: Callable[[], object], *, count: int, device: torch.device) -> float:
    """Return the mean time of ``count`` calls, seconds."""
    _synchronise(device)
    start = time.perf_counter()
    for _ in range(count):
        step()
    _synchronise(device)
    return (time.perf_counter() - start) / count


def peak_bytes(step: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that tensors made during one call held at once, kernels' temporaries included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return max(event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]")


def count_flops(step: Callable[[], object]) -> int:
    """Return the floating-point operations of convolutions and matrix products in one call, a multiply-add as two."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def convolution_peak(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Return the operations per second of a large 3x3 convolution, the best of several runs: what to compare with."""
    images = torch.randn(64, 256, 16, 16, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    operations = 2 * images.numel() * weight.numel() / images.shape[1]

    def convolve() -> None:
        torch.conv2d(images, weight, padding=1)

    convolve()
    return operations / min(seconds(convolve, count=1, device=device) for _ in range(8))


def time_in_turn(remotes: Mapping[_Key, Remote], *arguments: object, rounds: int) -> dict[_Key, list[Any]]:
    """Return what ``time`` measures in every process, a value for each round, all processes once in each.

    What the machine does besides so falls on all of them alike.
    """
    times: dict[_Key, list[Any]] = {key: [] for key in remotes}
    for _ in range(rounds):
        for key, remote in remotes.items():
            times[key].append(remote.call("time", *arguments))
    return times


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise ``values``."""
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)


def describe_machine(device: torch.device) -> str:
    """Return one line on the processor, the device, the threads and the versions."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    parts = [name, torch.backends.cpu.get_cpu_capability(), f"{torch.get_num_threads()} threads"]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    return ", ".join([*parts, f"torch {torch.__version__}", f"Python {sys.version.split()[0]}"])


def open_benchmark(device: str, threads: int) -> None:
    """Set the threads of this process, 0 for torch's choice, quieten the workers, and print what the machine is."""
    os.environ |= {"TORCH_CPP_LOG_LEVEL": "ERROR", "KINETO_LOG_LEVEL": "99"}  # the profiler is chatty
    if threads:
        torch.set_num_threads(threads)
    print(f"{describe_machine(torch.device(device))}; load {os.getloadavg()[0]:.1f} at the start.")


def describe_load(rounds: int) -> str:
    """Return a line on what else the machine does when the rounds are over."""
    return f"\nLoad {os.getloadavg()[0]:.1f} at the end; {rounds} rounds."


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with its columns aligned."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
