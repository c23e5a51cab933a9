"""Options that are words refuse other words: asked in a process without the tests' type checker."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "made", "expected"),
    [
        ("rotation", "Rotation('upright')", "mode of expand, random, got 'upright'"),
        ("lorot", "LoRot('X')", "variant of E, I, got 'X'"),
        ("flip", "Flip('diagonal')", "axis of horizontal, vertical, got 'diagonal'"),
        ("jigsaw", "Jigsaw(grid=4)", "grid of 2, 3, got 4"),
        ("inpaint", "Inpaint('left')", "place of random, center, got 'left'"),
    ],
)
def test_pretext__unknown_word__is_refused(module, made, expected):
    program = f"from auxo.pretexts.{module} import *\n{made}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"OptionError: expected {expected}: " in result.stderr
