"""Two processes on parts of a batch are one process on the joined batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).parent / "train_steps.py"
CASES = ("ossl-without-batch-norm", "ossl-synchronised-batch-norm", "rotation-random", "ossl-implicit")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder, batch_size, rank, num_processes, port):
    place = {"RANK": str(rank), "WORLD_SIZE": str(num_processes), "LOCAL_RANK": str(rank)}
    environment = {**os.environ, **place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), str(batch_size)], env=environment, stderr=subprocess.PIPE, text=True
    )


# 16 shares out evenly; 15 into 8 and 7, and the last batch of 10 into 5 and 5.
@pytest.fixture(scope="module", params=[16, 15], ids=["equal parts", "unequal parts"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for ranks in ([0], [0, 1]):
        port = free_port()
        processes = [start(folder, request.param, rank, len(ranks), port) for rank in ranks]
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes__20_steps_in_float64__weights_of_one_process(folder, case):
    one = load_file(folder / f"{case}-0-of-1.safetensors")
    halves = [load_file(folder / f"{case}-{rank}-of-2.safetensors") for rank in (0, 1)]
    for name, tensor in one.items():
        torch.testing.assert_close(halves[0][name], tensor, rtol=0, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}")
        assert torch.equal(halves[0][name], halves[1][name]), name
