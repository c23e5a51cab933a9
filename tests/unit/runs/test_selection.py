from dataclasses import replace
from pathlib import Path

import pytest
import torch

from auxo.data import InMemorySource, OODSplit, TestSplit, TrainSplit, ValSplit
from auxo.errors import ConfigError, NonFiniteError, OptionError, SelectionError
from auxo.runs.independence.chunks import Chunks
from auxo.runs.independence.permutation import Permutation
from auxo.runs.results import EvaluationRow, Selection
from auxo.runs.selection import SelectionRule
from auxo.tasks import Measure
from auxo.types import Column

SOURCE = InMemorySource(
    "x", torch.zeros(1, 3, 8, 8, dtype=torch.uint8), {"label": Column(torch.zeros(1, dtype=torch.int64), ("a", "b"))}
)
VAL = ValSplit(SOURCE)
BEST = SelectionRule(keep="best")


def row(accuracy: float = 0.8, nll: float = 0.4, worst: float = 0.2, *, head: str = "semantic") -> EvaluationRow:
    measures = {
        "accuracy": Measure(accuracy),
        "nll": Measure(nll, unit="nats", higher_is_better=False),
        "worst_group/background": Measure(worst),
    }
    return EvaluationRow("val", head, "task", 10, "accuracy", measures)


def choose(accuracy: float, nll: float, step: int, best: Selection | None, rule: SelectionRule = BEST) -> Selection:
    return rule.select(VAL, [row(accuracy, nll), row(1.0, 0.0, head="auxiliary")], best, step=step, epoch=step)


def test_select__first_checkpoint__is_the_best() -> None:
    expected = Selection("val", "semantic", "accuracy", 0.5, "nll", 1.0, step=3, epoch=3)
    assert choose(0.5, 1.0, 3, None) == expected
    assert expected.describe() == "best accuracy of semantic on val at epoch 3"


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
def test_select__measure_then_tie_break_then_step__decide(accuracy: float, nll: float, step: int, wins: bool) -> None:
    best = choose(0.8, 0.4, 1, None)
    found = choose(accuracy, nll, step, best)
    assert (found is not best) == wins
    assert (found.value, found.tie_value, found.step) == ((accuracy, nll, step) if wins else (0.8, 0.4, 1))


def test_select__measure_of_which_lower_is_better__takes_the_lower() -> None:
    rule = SelectionRule(keep="best", measure="nll", tie_break="accuracy")
    best = choose(0.9, 0.4, 1, None, rule)
    assert (best.measure, best.value) == ("nll", 0.4)
    assert choose(0.5, 0.3, 2, best, rule).step == 2
    assert choose(0.99, 0.5, 2, best, rule) is best
    assert choose(0.95, 0.4, 2, best, rule).step == 2
    assert choose(0.85, 0.4, 2, best, rule) is best


def test_select__worst_group__decides_against_the_mean() -> None:
    rule = SelectionRule(keep="best", measure="worst_group/background")
    first = rule.select(VAL, [row(0.9, worst=0.1)], None, step=1, epoch=1)
    assert rule.select(VAL, [row(0.7, worst=0.5)], first, step=2, epoch=2).value == 0.5
    assert BEST.select(VAL, [row(0.7, worst=0.5)], choose(0.9, 0.1, 1, None), step=2, epoch=2).step == 1


def test_select__head_of_a_pretext__is_the_one_that_decides() -> None:
    pretext = replace(row(0.3, head="rotation"), kind="pretext")
    found = SelectionRule(keep="best", head="rotation").select(VAL, [row(), pretext], None, step=1, epoch=1)
    assert (found.head, found.value) == ("rotation", 0.3)


@pytest.mark.parametrize("split", [TrainSplit(SOURCE), TestSplit(SOURCE), OODSplit(SOURCE), "val"])
def test_select__anything_but_validation_data__is_refused_by_type(split: object) -> None:
    with pytest.raises(SelectionError, match=type(split).__name__):
        BEST.select(split, [row()], None, step=1, epoch=1)


def test_select__rows_of_a_test_split__are_refused() -> None:
    rows = [row(), replace(row(), split="test"), replace(row(), split="ood/images")]
    with pytest.raises(SelectionError, match="ood/images, test"):
        BEST.select(VAL, rows, None, step=1, epoch=1)


def test_select__no_head_that_predicts__is_refused() -> None:
    with pytest.raises(SelectionError, match="a row of a head that predicts on val"):
        BEST.select(VAL, [replace(row(), kind="pretext")], None, step=1, epoch=1)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (SelectionRule(measure="f1"), "a measure of accuracy, nll, worst_group/background, got 'f1'"),
        (SelectionRule(head="other"), "a head of first, semantic to select by, got 'other'"),
    ],
)
def test_select__unknown_measure_or_head__is_refused_in_one_line(rule: SelectionRule, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        rule.select(VAL, [row()], None, step=1, epoch=1)
    assert "\n" not in str(caught.value)


def test_rank__runs__are_in_the_order_of_the_rule() -> None:
    runs = {"a": row(0.8, 0.5), "b": row(0.9, 0.9), "c": row(0.8, 0.2)}
    assert sorted(runs, key=lambda name: BEST.rank(runs[name])) == ["b", "c", "a"]
    by_nll = SelectionRule(measure="nll")
    assert sorted(runs, key=lambda name: by_nll.rank(runs[name])) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("tie_break", "higher", "wins"), [("f1", True, True), ("f1", False, False), ("absent", True, False)]
)
def test_select__equals__are_decided_by_the_tie_break_in_its_own_direction(
    tie_break: str, higher: bool, wins: bool
) -> None:
    def of(value: float) -> list[EvaluationRow]:
        return [replace(row(), measures={**row().measures, "f1": Measure(value, higher_is_better=higher)})]

    rule = SelectionRule(keep="best", tie_break=tie_break)
    best = rule.select(VAL, of(0.4), None, step=1, epoch=1)
    assert (rule.select(VAL, of(0.6), best, step=2, epoch=2) is not best) == wins
    assert rule.select(VAL, of(0.4), best, step=2, epoch=2) is best


def test_select__measured_in_any_order__keeps_the_earliest_of_equals() -> None:
    late = choose(0.8, 0.4, 5, None)
    assert choose(0.8, 0.4, 3, late).step == 3


def test_select__empty_rows__are_refused() -> None:
    with pytest.raises(SelectionError, match="a row of a head that predicts on val"):
        BEST.select(VAL, [], None, step=1, epoch=1)


@pytest.mark.parametrize(("accuracy", "nll"), [(float("nan"), 0.4), (0.8, float("nan")), (0.8, float("inf"))])
def test_select__measure_that_is_no_number__is_refused_as_it_has_no_order(accuracy: float, nll: float) -> None:
    with pytest.raises(NonFiniteError, match=r"a finite measure to select by, got (nan|inf) of semantic on val"):
        BEST.select(VAL, [row(accuracy, nll)], None, step=1, epoch=1)
    with pytest.raises(NonFiniteError, match="a finite measure"):
        BEST.rank(row(accuracy, nll))


@pytest.mark.parametrize("split", ["test", "train", "ood/images"])
def test_rank__row_of_another_split__is_refused(split: str) -> None:
    with pytest.raises(SelectionError, match=f"a row on val to choose a run by, got one on {split}"):
        BEST.rank(replace(row(), split=split))


def test_select__tie_break_that_only_one_has__leaves_it_to_the_earlier() -> None:
    bare = replace(row(0.8), measures={"accuracy": Measure(0.8)})
    first = BEST.select(VAL, [bare], None, step=1, epoch=1)
    assert first.tie_value is None
    assert BEST.select(VAL, [row(0.8, -0.5)], first, step=2, epoch=2) is first
    whole = BEST.select(VAL, [row(0.8, 0.5)], None, step=1, epoch=1)
    assert BEST.select(VAL, [bare], whole, step=2, epoch=2) is whole
    assert BEST.select(VAL, [row(0.8, 0.4)], whole, step=2, epoch=2) is not whole


def test_describe__rule__is_said_in_words() -> None:
    assert SelectionRule().describe(primary="accuracy") == "last epoch; nothing was selected"
    assert BEST.describe(primary="mIoU") == "best mIoU on val, then nll, then the earliest"
    named = SelectionRule(keep="best", measure="nll", head="rotation", tie_break="accuracy")
    assert named.describe(primary="mIoU") == "best nll of rotation on val, then accuracy, then the earliest"


@pytest.mark.slow
def test_select__test_split__is_refused_by_the_type_checker(tmp_path: Path) -> None:
    from mypy import api

    program = tmp_path / "program.py"
    program.write_text(
        "from auxo.data import TestSplit, ValSplit\n"
        "from auxo.runs.results import EvaluationRow\n"
        "from auxo.runs.selection import SelectionRule\n"
        "def right(split: ValSplit, rows: list[EvaluationRow]) -> None:\n"
        "    SelectionRule().select(split, rows, None, step=1, epoch=1)\n"
        "def wrong(split: TestSplit, rows: list[EvaluationRow]) -> None:\n"
        "    SelectionRule().select(split, rows, None, step=1, epoch=1)\n"
    )
    report, _, status = api.run([str(program)])
    assert status == 1
    assert report.count("error") == 2, report  # one line, and the summary
    assert 'incompatible type "TestSplit"; expected "ValSplit"' in report


TWO_STEP = SelectionRule(keep="two_step", test=Permutation(column="place"))


def make_tested(loss: float, statistic: float, p_value: float, *, accuracy: float = 0.8) -> EvaluationRow:
    """A row with what a test measured."""
    own = {
        "weighted_nll/place": Measure(loss, unit="nats", higher_is_better=False),
        "discrepancy/place": Measure(statistic, unit="", higher_is_better=False),
        "independence/place": Measure(p_value, unit=""),
    }
    plain = row(accuracy)
    return replace(plain, measures={**plain.measures, **own})


@pytest.mark.parametrize(
    ("table", "chosen"),
    [
        # Two pass: of them the lower loss, though a third has a lower one, and its discrepancy is the smallest.
        ([(0.5, 0.30, 0.05), (0.4, 0.20, 0.90), (0.1, 0.01, 0.04)], 1),
        # None passes: the smallest discrepancy, whatever its loss.
        ([(0.1, 0.30, 0.01), (0.9, 0.02, 0.01), (0.2, 0.20, 0.04)], 1),
        # None passes, equal discrepancies: the lower loss.
        ([(0.5, 0.02, 0.01), (0.4, 0.02, 0.02), (0.1, 0.30, 0.01)], 1),
        # Two pass with equal losses: the earlier.
        ([(0.9, 0.02, 0.60), (0.3, 0.30, 0.10), (0.3, 0.01, 0.90)], 1),
        # Nothing is told: every discrepancy is 0.
        ([(0.7, 0.0, 1.0), (0.6, 0.0, 1.0), (0.8, 0.0, 1.0)], 1),
    ],
    ids=["threshold", "fallback", "fallback with a tie", "tie", "all zero"],
)
def test_two_step__tables_made_by_hand__keep_first_and_choose_then(
    table: list[tuple[float, float, float]], chosen: int
) -> None:
    rows = [make_tested(*each) for each in table]
    best = None
    for step, each in enumerate(rows):
        best = TWO_STEP.select(VAL, [each], best, step=step, epoch=step)
    assert best is not None
    assert best.step == chosen
    assert (best.measure, best.value, best.statistic, best.p_value) == ("weighted_nll/place", *table[chosen])
    assert min(range(3), key=lambda number: (*TWO_STEP.rank(rows[number]), number)) == chosen


def test_two_step__another_measure__decides_among_those_that_pass() -> None:
    rule = replace(TWO_STEP, measure="accuracy")
    runs = [
        make_tested(0.1, 0.1, 0.5, accuracy=0.7),
        make_tested(0.9, 0.1, 0.5, accuracy=0.8),
        make_tested(0.1, 0.1, 0.01, accuracy=1.0),
    ]
    assert min(range(3), key=lambda number: rule.rank(runs[number])) == 1
    assert TWO_STEP.rank(runs[0]) < TWO_STEP.rank(runs[1])


def test_two_step__in_words__says_what_is_tested() -> None:
    expected = (
        "of features that do not tell place (permutation, p >= 0.05) on val or else the nearest, "
        "the best weighted loss, then nll"
    )
    assert TWO_STEP.describe(primary="accuracy") == expected
    found = TWO_STEP.select(VAL, [make_tested(0.5, 0.1, 0.25)], None, step=3, epoch=1)
    assert found.describe() == "best weighted_nll/place of semantic on val at epoch 1, independence p = 0.25"


def test_two_step__rows_that_were_not_tested__are_refused() -> None:
    with pytest.raises(ConfigError, match="'weighted_nll/place', which semantic on val does not have"):
        TWO_STEP.check([row()], split="val")
    with pytest.raises(ConfigError, match="'weighted_nll/place'"):
        TWO_STEP.rank(row())


def test_rule__test_and_keep_that_do_not_go_together__are_refused() -> None:
    with pytest.raises(OptionError, match="keep two_step with a column that features are not to tell, got none"):
        SelectionRule(keep="two_step")
    for keep in ("best", "last"):
        with pytest.raises(OptionError, match=f"test with keep two_step, got keep {keep}"):
            SelectionRule(keep=keep, test=Chunks(column="place"))
