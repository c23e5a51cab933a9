"""Options that are words refuse other words: asked in a process without the tests' type checker."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "made", "expected"),
    [
        ("rotation", "Rotation('upright')", "rotation mode expand or random, got 'upright'"),
        ("lorot", "LoRot('X')", "LoRot variant E or I, got 'X'"),
        ("flip", "Flip('diagonal')", "flip axis horizontal or vertical, got 'diagonal'"),
        ("jigsaw", "Jigsaw(grid=4)", "a jigsaw grid of 2 or 3, got 4"),
        ("inpaint", "Inpaint('left')", "place random or center, got 'left'"),
    ],
)
def test_pretext__unknown_word__is_refused(module, made, expected):
    program = f"from auxo.pretexts.{module} import *\n{made}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert f"ConfigError: expected {expected}: " in result.stderr
