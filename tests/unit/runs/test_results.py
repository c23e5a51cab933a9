"""Rows of an evaluation: what they find, and that they survive JSON."""

import json
from dataclasses import replace

import pytest

from auxo.errors import ConfigError
from auxo.runs.results import Compute, EvaluationRow, first_head
from auxo.tasks import Measure, Part

ROW = EvaluationRow(
    split="ood/elsewhere",
    head="semantic",
    kind="task",
    n=12,
    primary="accuracy",
    measures={
        "accuracy": Measure(0.75, 0.5, 0.9),
        "nll": Measure(1.5, unit="nats", higher_is_better=False),
        "worst_group/place": Measure(0.1 + 0.2),
    },
    chance=0.25,
    parts={"class": {"a": Part(12, 0.75), "b": Part(0, None)}, "place": {"land": Part(12, 0.75, 0.5, 0.9)}},
    notes=("left out: b/land (0)",),
)


@pytest.mark.parametrize(
    "row", [ROW, replace(ROW, chance=None, parts={}, notes=()), replace(ROW, kind="pretext", head="rotation")]
)
def test_record__row__comes_back_equal_from_json(row):
    assert EvaluationRow.from_record(json.loads(json.dumps(row.to_record(), allow_nan=False))) == row


def test_to_record__row__has_the_names_that_users_read():
    record = ROW.to_record()
    assert (record["head_kind"], record["primary"]) == ("task", "accuracy")
    assert record["measures"]["accuracy"] == {
        "value": 0.75,
        "low": 0.5,
        "high": 0.9,
        "unit": "%",
        "higher_is_better": True,
        "has_mean": True,
    }
    assert record["parts"]["class"] == {"a": [12, 0.75], "b": [0, None]}
    assert record["parts"]["place"] == {"land": [12, 0.75, 0.5, 0.9]}
    assert "notes" not in replace(ROW, notes=()).to_record()


def test_find__primary_or_a_name__is_the_measure():
    assert ROW.find("primary") == ROW.find("accuracy") == ROW.main == Measure(0.75, 0.5, 0.9)
    assert ROW.find("nll").unit == "nats"


def test_find__no_such_measure__is_refused_in_one_line_with_the_notes():
    with pytest.raises(ConfigError, match=r"got 'f1', which semantic on ood/elsewhere .*left out: b/land") as caught:
        ROW.find("f1")
    assert "a measure of accuracy, nll, worst_group/place" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_first_head__rows_of_several__are_those_of_the_head_that_predicts():
    pretext = replace(ROW, kind="pretext", head="rotation", split="val")
    val, other = replace(ROW, split="val"), replace(ROW, head="mean")
    assert first_head([pretext, val, other, ROW]) == [val, ROW]
    assert first_head([pretext]) == []


def test_total__parts_with_and_without_counted_operations__counts_them_only_if_all_are():
    counted = Compute(train_seconds=1.0, images=10, flops=5.0)
    assert Compute.total([counted, counted]) == Compute(2.0, 20, 10.0)
    assert Compute.total([counted, replace(counted, flops=None)]) == Compute(2.0, 20, None)
