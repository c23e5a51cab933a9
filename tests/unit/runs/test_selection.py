from dataclasses import replace
from pathlib import Path

import pytest
import torch

from auxo.data import InMemorySource, OODSplit, TestSplit, TrainSplit, ValSplit
from auxo.errors import SelectionError
from auxo.evaluation import select
from auxo.runs.results import EvaluationRow, Selection

SOURCE = InMemorySource("x", torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ("a", "b"))
VAL = ValSplit(SOURCE)
ROW = EvaluationRow("val", "semantic", "class", 10, 0.8, 0.5, 0.9, 0.4, 0.1, (0.8, None))


def choose(accuracy: float, nll: float, step: int, best: Selection | None) -> Selection:
    rows = [replace(ROW, accuracy=accuracy, nll=nll), replace(ROW, head="auxiliary", accuracy=1.0, nll=0.0)]
    return select(VAL, rows, best, step=step, epoch=step)


def test_select__first_checkpoint__is_the_best() -> None:
    assert choose(0.5, 1.0, 3, None) == Selection("val", "semantic", 0.5, 1.0, step=3, epoch=3)


@pytest.mark.parametrize(
    ("accuracy", "nll", "step", "wins"),
    [
        (0.9, 9.0, 2, True),
        (0.7, 0.1, 2, False),
        (0.8, 0.3, 2, True),
        (0.8, 0.5, 2, False),
        (0.8, 0.4, 2, False),
        (0.8, 0.4, 0, True),
    ],
)
def test_select__accuracy_then_likelihood_then_step__decide(accuracy: float, nll: float, step: int, wins: bool) -> None:
    best = choose(0.8, 0.4, 1, None)
    found = choose(accuracy, nll, step, best)
    assert (found is not best) == wins
    assert (found.accuracy, found.nll, found.step) == ((accuracy, nll, step) if wins else (0.8, 0.4, 1))


@pytest.mark.parametrize("split", [TrainSplit(SOURCE), TestSplit(SOURCE), OODSplit(SOURCE), "val"])
def test_select__anything_but_validation_data__is_refused_by_type(split: object) -> None:
    with pytest.raises(SelectionError, match=type(split).__name__):
        select(split, [ROW], None, step=1, epoch=1)


def test_select__rows_of_a_test_split__are_refused() -> None:
    with pytest.raises(SelectionError, match="ood/photos, test"):
        select(VAL, [ROW, replace(ROW, split="test"), replace(ROW, split="ood/photos")], None, step=1, epoch=1)


def test_select__no_class_head__is_refused() -> None:
    with pytest.raises(SelectionError, match="a row of a class head on val"):
        select(VAL, [replace(ROW, kind="pretext")], None, step=1, epoch=1)


@pytest.mark.slow
def test_select__test_split__is_refused_by_the_type_checker(tmp_path: Path) -> None:
    from mypy import api

    program = tmp_path / "program.py"
    program.write_text(
        "from auxo.data import TestSplit, ValSplit\n"
        "from auxo.evaluation import EvaluationRow, select\n"
        "def right(split: ValSplit, rows: list[EvaluationRow]) -> None:\n"
        "    select(split, rows, None, step=1, epoch=1)\n"
        "def wrong(split: TestSplit, rows: list[EvaluationRow]) -> None:\n"
        "    select(split, rows, None, step=1, epoch=1)\n"
    )
    report, _, status = api.run([str(program)])
    assert status == 1
    assert report.count("error") == 2, report  # one line, and the summary
    assert 'incompatible type "TestSplit"; expected "ValSplit"' in report
