"""Audits of runs on digits whose colour goes with the class in training, or does not: what is planted is found."""

import json

import pytest

pytestmark = pytest.mark.slow  # two runs of some seconds each


@pytest.fixture(scope="module")
def audit_of(tmp_path_factory):
    """Train at a strength of the shortcut, and audit on held-out images without one."""
    from auxo.cli import main

    def audit(strength):
        run = tmp_path_factory.mktemp("runs") / "run"
        data = ("--data.scenario", "coloured_digits", "--data.shortcut.strength", str(strength))
        habits = ("--epochs", "6", "--training.no-tensorboard", "--device", "cpu", "--out", run)
        for words in (
            ("train", "supervised", *data, *habits),
            ("audit", run, "--columns", "colour", "--split", "ood/strength-0.5", "--permutations", "199"),
            ("evaluate", run, "--shift", "colour", "--split", "ood/strength-0.5", "--strengths", "0.1", "0.5", "0.9"),
        ):  # fmt: skip
            with pytest.raises(SystemExit) as stop:
                main([str(word) for word in words])
            assert stop.value.code == 0
        (column,) = json.loads((run / "audit" / "ood-strength-0.5" / "audit.json").read_text())["columns"]
        return column, [json.loads(line) for line in (run / "shift.jsonl").read_text().splitlines()]

    return audit


def test_audit__trained_with_a_shortcut__leans_on_it(audit_of):
    column, points = audit_of(0.95)
    assert column["verdict"] == "leans"
    assert column["class_gap"]["low"] > 0.3
    assert column["predictions"]["p_holm"] <= 0.01
    assert column["embeddings"]["test"]["statistic"] > 20 * column["embeddings"]["test"]["expected"]
    low, _, high = (point["measures"]["accuracy"]["value"] for point in points)
    assert high - low > 0.4


def test_audit__trained_without_one__is_not_found_to_lean(audit_of):
    column, points = audit_of(0.5)
    assert column["verdict"] != "leans"
    assert column["class_gap"]["size"] < 0.1
    low, _, high = (point["measures"]["accuracy"]["value"] for point in points)
    assert abs(high - low) < 0.1
