"""Two processes on parts of a batch are one process on the joined batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .adapt_steps import CASES as ADAPTED
from .gate_steps import CASES as GATED
from .hypergradients import SOLVERS
from .pixel_steps import CASES as PIXEL_CASES
from .two_view_steps import CASES as PAIRED

RUN = Path(__file__).parent / "run_scripts.py"
CASES = (
    "ossl-without-batch-norm",
    "ossl-synchronised-batch-norm",
    "rotation-random",
    "ossl-implicit",
    "supervised-ldam-drw",
    "fixmatch",
    "fixmatch-gated",
    "auxilearn",
    "auxilearn-gcs",
    "auxilearn-hypergradient",
    "maxl",
    "maxl-second-order",
    "maxl-image-rewards",
    "dtg_auxl",
    "dtg_auxl-batch-norm",
    "dtg_auxl-mixup",
    "maxl-meta-two-passes",
    "multi_pretext",
    "multi_pretext-tuned",
    "multi_pretext-relations",
    "pretrain-further",
    "shortcut_removal-mmd",
    "shortcut_removal-batch-norm",
    "shortcut_removal-hsic",
    "shortcut_removal-group-dro",
    "shortcut_removal-vrex",
    "shortcut_removal-irm",
    "segmenter",
    "segmenter-deeplab",
    "segmenter-joint",
    "pixel_contrast",
)


SCRIPTS = ("train_steps", "gate_steps", "two_view_steps", "pixel_steps", "hypergradients", "adapt_steps")


def find_ports(count):
    """Ports that are free, each another."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def run_alone_and_together(folder, images):
    """Run every script in two processes that form a group, and in one."""
    words = [word for script in zip(SCRIPTS, find_ports(len(SCRIPTS)), images, strict=True) for word in script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(RUN), rank, str(folder), *map(str, words)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("1", "0")
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=1500)
            assert process.returncode == 0, errors
    finally:
        for process in processes:  # one that waits for another that is gone
            process.kill()
            process.communicate()


def compare_with_one_process(folder, case, *, rtol, atol):
    """Check that the files of two processes hold what one process wrote, and return the latter."""
    one = load_file(folder / f"{case}-0-of-1.safetensors")
    halves = [load_file(folder / f"{case}-{rank}-of-2.safetensors") for rank in (0, 1)]
    for name, tensor in one.items():
        torch.testing.assert_close(
            halves[0][name], tensor, rtol=rtol, atol=atol, msg=lambda text, n=name: f"{n}: {text}"
        )
        assert torch.equal(halves[0][name], halves[1][name]), name
    return one


# 16 shares out evenly; 15 into 8 and 7, and the last batch of 10 into 5 and 5; 11 into 6 and 5; 7 into 4 and 3.
@pytest.fixture(
    scope="module",
    params=[pytest.param((16, 12, 8, 8, "-", 12), marks=pytest.mark.slow), (15, 11, 7, 7, "-", 11)],
    ids=["equal parts", "unequal parts"],
)
def folder(request, tmp_path_factory):
    """What the scripts wrote, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("weights")
    run_alone_and_together(folder, request.param)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes__steps_in_float64__weights_of_one_process(folder, case):
    assert compare_with_one_process(folder / "train_steps", case, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", GATED)
def test_two_processes__steps_under_every_gate__weights_and_metrics_of_one_process(folder, case):
    one = compare_with_one_process(folder / "gate_steps", case, rtol=0, atol=1e-9)
    assert any("gate_" in name for name in one)


@pytest.mark.parametrize("case", PAIRED)
def test_two_processes__every_pretext__loss_gradient_hessian_product_and_weights_of_one_process(folder, case):
    one = compare_with_one_process(folder / "two_view_steps", case, rtol=1e-9, atol=1e-9)
    for kind in ("gradient", "product"):
        for part in ("backbone", "pretext.projector.0"):
            assert max(value.abs().max() for name, value in one.items() if f"{kind} {part}" in name) > 1e-3


@pytest.mark.parametrize("case", PIXEL_CASES)
def test_two_processes__every_objective_of_pixels__loss_gradient_memory_and_weights_of_one_process(folder, case):
    one = compare_with_one_process(folder / "pixel_steps", case, rtol=1e-9, atol=1e-9)
    assert all(value.abs().max() > 1e-3 for name, value in one.items() if "gradient network" in name)
    assert one["1 loss"] != one["0 loss"]


@pytest.mark.parametrize("case", ADAPTED)
def test_two_processes__batch_norm_adapted_to_parts_of_a_set__statistics_of_one_process(folder, case):
    one = compare_with_one_process(folder / "adapt_steps", case, rtol=1e-5, atol=1e-6)
    assert max(tensor.sub(1).abs().max() for name, tensor in one.items() if name.endswith("var")) > 0.05


@pytest.mark.parametrize("batch_norm", [False, True], ids=["without batch norm", "synchronised batch norm"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_two_processes__hypergradient_of_halves__that_of_one_process(folder, solver, batch_norm):
    hypergradients = folder / "hypergradients"
    one = load_file(hypergradients / f"{solver}-{batch_norm}-0-of-1.safetensors")
    assert any(tensor.abs().max() > 1e-6 for name, tensor in one.items() if name != "outer loss")
    for rank in (0, 1):
        half = load_file(hypergradients / f"{solver}-{batch_norm}-{rank}-of-2.safetensors")
        for name, tensor in one.items():
            torch.testing.assert_close(half[name], tensor, rtol=1e-9, atol=1e-12, msg=lambda t, n=name: f"{n}: {t}")
