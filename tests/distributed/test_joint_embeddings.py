"""Two processes on parts of a batch of pairs are one process on the joined batch: gradients and Hessian products."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from .joint_embedding_steps import CASES
from .test_equality import run_alone_and_together

SCRIPT = Path(__file__).parent / "joint_embedding_steps.py"


@pytest.fixture(scope="module", params=[8, 7], ids=["equal parts", "unequal parts"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    run_alone_and_together(SCRIPT, folder, request.param)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes__every_pretext__loss_gradient_hessian_product_and_weights_of_one_process(folder, case):
    one = load_file(folder / f"{case}-0-of-1.safetensors")
    halves = [load_file(folder / f"{case}-{rank}-of-2.safetensors") for rank in (0, 1)]
    for kind in ("gradient", "product"):
        for part in ("backbone", "pretext.projector.0"):
            assert max(value.abs().max() for name, value in one.items() if f"{kind} {part}" in name) > 1e-3
    for name, tensor in one.items():
        torch.testing.assert_close(
            halves[0][name], tensor, rtol=1e-9, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}"
        )
        assert torch.equal(halves[0][name], halves[1][name]), name
