"""Two processes on parts of a batch are one process on the joined batch, of pairs and of pixels."""

from pathlib import Path

import pytest

from .pixel_steps import CASES as PIXEL_CASES
from .test_equality import compare_with_one_process, run_alone_and_together
from .two_view_steps import CASES

SCRIPT = Path(__file__).parent / "two_view_steps.py"


@pytest.fixture(
    scope="module", params=[pytest.param(8, marks=pytest.mark.slow), 7], ids=["equal parts", "unequal parts"]
)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    run_alone_and_together(SCRIPT, folder, request.param)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes__every_pretext__loss_gradient_hessian_product_and_weights_of_one_process(folder, case):
    one = compare_with_one_process(folder, case, rtol=1e-9, atol=1e-9)
    for kind in ("gradient", "product"):
        for part in ("backbone", "pretext.projector.0"):
            assert max(value.abs().max() for name, value in one.items() if f"{kind} {part}" in name) > 1e-3


@pytest.mark.parametrize("case", PIXEL_CASES)
def test_two_processes__every_objective_of_pixels__loss_gradient_memory_and_weights_of_one_process(folder, case):
    one = compare_with_one_process(folder, case, rtol=1e-9, atol=1e-9)
    assert all(value.abs().max() > 1e-3 for name, value in one.items() if "gradient network" in name)
    assert one["1 loss"] != one["0 loss"]
