"""Two processes on unequal parts of a batch weight losses as one process does on the joined batch."""

from pathlib import Path

import pytest

from .gate_steps import CASES
from .test_equality import compare_with_one_process, run_alone_and_together

SCRIPT = Path(__file__).parent / "gate_steps.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gates")
    run_alone_and_together(SCRIPT, folder, 11)  # shared out into 6 and 5, and the last 8 of 30 into halves
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes__steps_under_every_gate__weights_and_metrics_of_one_process(folder, case):
    one = compare_with_one_process(folder, case, rtol=0, atol=1e-9)
    assert any("gate_" in name for name in one)
