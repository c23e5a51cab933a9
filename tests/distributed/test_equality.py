"""Two processes on parts of a batch are one process on the joined batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .hypergradients import SOLVERS

SCRIPT = Path(__file__).parent / "train_steps.py"
HYPERGRADIENTS = Path(__file__).parent / "hypergradients.py"
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


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(rank, num_processes, port, *command):
    place = {"RANK": str(rank), "WORLD_SIZE": str(num_processes), "LOCAL_RANK": str(rank)}
    environment = {**os.environ, **place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, *map(str, command)], env=environment, stderr=subprocess.PIPE, text=True)


def run_alone_and_together(*command):
    """Run the command in one process, then in two that form a group."""
    for ranks in ([0], [0, 1]):
        port = free_port()
        processes = [start(rank, len(ranks), port, *command) for rank in ranks]
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


# 16 shares out evenly; 15 into 8 and 7, and the last batch of 10 into 5 and 5.
@pytest.fixture(
    scope="module", params=[pytest.param(16, marks=pytest.mark.slow), 15], ids=["equal parts", "unequal parts"]
)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    run_alone_and_together(SCRIPT, folder, request.param)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes__steps_in_float64__weights_of_one_process(folder, case):
    assert compare_with_one_process(folder, case, rtol=0, atol=1e-10)


@pytest.fixture(scope="module")
def hypergradients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hypergradients")
    run_alone_and_together(HYPERGRADIENTS, folder)
    return folder


@pytest.mark.parametrize("batch_norm", [False, True], ids=["without batch norm", "synchronised batch norm"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_two_processes__hypergradient_of_halves__that_of_one_process(hypergradients, solver, batch_norm):
    one = load_file(hypergradients / f"{solver}-{batch_norm}-0-of-1.safetensors")
    assert any(tensor.abs().max() > 1e-6 for name, tensor in one.items() if name != "outer loss")
    for rank in (0, 1):
        half = load_file(hypergradients / f"{solver}-{batch_norm}-{rank}-of-2.safetensors")
        for name, tensor in one.items():
            torch.testing.assert_close(half[name], tensor, rtol=1e-9, atol=1e-12, msg=lambda t, n=name: f"{n}: {t}")
