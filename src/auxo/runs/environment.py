"""What the bits of a run depend on beside its config: versions, device, processor, threads, processes."""

import functools
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import auxo
from auxo.runtime import Runtime

FIRST_STEP = "first_step"
"""Beside what describes an environment: updates of the stage that were done when it began to be the one."""
_PACKAGES = ("torch", "kornia", "numpy", "pillow")  # those that compute with pixels and weights
_UNKNOWN = "not recorded"


def describe_environment(runtime: Runtime) -> dict[str, str | int]:
    """Return what the bits of a run depend on beside its config, by name, as values that JSON has."""
    on_gpu = runtime.device.type == "cuda"
    autocast = runtime.autocast_dtype
    return {
        "auxo": auxo.__version__,
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "device": f"{torch.cuda.get_device_name(runtime.device)}, CUDA {torch.version.cuda}"
        if on_gpu
        else runtime.device.type,
        "processor": _describe_processor(),
        "threads": torch.get_num_threads(),
        "processes": runtime.num_processes,
        "precision": "float32" if autocast is None else str(autocast).removeprefix("torch."),
    }


def add_environment(known: list[dict[str, Any]], step: int, environment: Mapping[str, str | int]) -> None:
    """Note that a stage was computed in an environment from a step on, unless it was in that one already."""
    if not known or {**known[-1], FIRST_STEP: step} != {FIRST_STEP: step, **environment}:
        known.append({FIRST_STEP: step, **environment})


def find_environments(known: Sequence[Mapping[str, Any]], first: int, last: int) -> list[dict[str, Any]]:
    """Return the environments in which the steps of a stage after ``first`` up to ``last`` were computed.

    One is empty where steps were computed by an earlier version, which did not record it.

    Args:
        known: of the stage, from :func:`add_environment`.
        first: updates done before.
        last: updates done after.
    """
    if not known or known[0][FIRST_STEP] > first:
        known = [{FIRST_STEP: 0}, *known]
    ends = [each[FIRST_STEP] for each in known[1:]] + [last + 1]
    return [
        {name: value for name, value in each.items() if name != FIRST_STEP}
        for each, end in zip(known, ends, strict=True)
        if end > first and each[FIRST_STEP] < max(last, first + 1)
    ]


def compare_environments(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that is not as it was recorded."""
    return [
        f"{name} was {recorded.get(name, _UNKNOWN)} and is {present.get(name, _UNKNOWN)} here"
        for name in dict.fromkeys((*recorded, *present))
        if recorded.get(name) != present.get(name)
    ]


@functools.cache
def _describe_processor() -> str:
    """Return the name of the processor, and what torch's kernels use of it."""
    names = [line.partition(":")[2].strip() for line in _read_lines(Path("/proc/cpuinfo")) if "model name" in line]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file, none where there is none."""
    return path.read_text(errors="replace").splitlines() if path.is_file() else []
