"""What the tables of a comparison say, measure by measure, and what they refuse."""

import csv

import pytest

from auxo.comparison import compare_results, difference_tables, notes_of, result_tables, to_long_csv, to_statistics_csv
from auxo.errors import ConfigError
from auxo.tasks import Measure

GROUP = "worst_group/background"


def nll(value):
    return Measure(value, unit="nats", higher_is_better=False)


@pytest.fixture
def compare(make_row, make_result, contents_for):
    """Compare methods, each named with its accuracies by seed; NLL falls as accuracy rises."""

    def made(*, measures=("primary",), **values):
        results = [
            make_result(name, seed, make_row(value, nll=nll(2 - value)))
            for name, own in values.items()
            for seed, value in own.items()
        ]
        return compare_results(contents_for(*results), results, measures=measures)

    return made


def test_notes_of__no_seed_in_common__method_is_named_and_not_compared(compare):
    comparison = compare(first={0: 0.80, 1: 0.82}, second={2: 0.90, 3: 0.92})
    assert notes_of(comparison) == ["no seed in common with first, so not compared with it: second"]
    assert difference_tables(comparison) == []


def test_result_tables__primary_measure__in_percent_with_chance_and_rule(compare):
    comparison = compare(first={0: 0.80, 1: 0.82}, second={0: 0.81, 1: 0.85})
    assert notes_of(comparison) == []
    (table,) = result_tables(comparison)
    assert [line[:2] for line in table.lines] == [("first", "81.0 ± 1.4"), ("second", "83.0 ± 2.8")]
    assert table.caption.startswith("Accuracy in percent of the head semantic (higher is better), mean ± sample")
    assert "Guessing would reach 25.0. Checkpoint: last epoch; nothing was selected. Budget:" in table.caption
    assert "seconds (wall-clock" in table.caption
    (differences,) = difference_tables(comparison)
    assert differences.lines[0][:4] == ("second", "test", "2", "+2.0")
    assert "in points; higher is better, so a difference above 0 is for the method" in differences.caption
    assert "for the 1 difference of this table" in differences.caption


def test_result_tables__another_measure__in_its_unit_and_the_side_that_is_better_said(compare):
    comparison = compare(measures=("nll",), first={0: 0.80, 1: 0.82}, second={0: 0.81, 1: 0.85})
    (table,) = result_tables(comparison)
    assert [line[:2] for line in table.lines] == [("first", "1.190 ± 0.014"), ("second", "1.170 ± 0.028")]
    assert table.caption.startswith("NLL in nats of the head semantic (lower is better)")
    assert "Guessing" not in table.caption
    (differences,) = difference_tables(comparison)
    assert differences.lines[0][3] == "-0.020"
    assert "in nats; lower is better, so a difference below 0 is for the method" in differences.caption


def test_tables__several_measures__one_table_each_and_corrected_together(compare):
    values = {"first": {0: 0.80, 1: 0.82, 2: 0.81}, "second": {0: 0.81, 1: 0.85, 2: 0.83}}
    comparison = compare(measures=("primary", "nll", "accuracy"), **values)
    tables = result_tables(comparison)
    assert [table.columns[:3] for table in tables] == [("method", "test", "operations"), ("method", "test")]
    differences = difference_tables(comparison)
    assert [table.lines[0][3] for table in differences] == ["+2.0", "-0.020"]
    assert all("for the 2 differences of all measures" in table.caption for table in differences)
    first, second = comparison.differences
    assert first.p_holm == pytest.approx(2 * first.p)
    assert second.p_holm == pytest.approx(2 * second.p)


def test_to_long_csv__any_measures_shown__every_measure_of_every_set(compare):
    comparison = compare(measures=("nll",), first={0: 0.8125})
    rows = list(csv.DictReader(to_long_csv(comparison).splitlines()))
    told = [(row["measure"], row["value"], row["unit"], row["higher_is_better"], row["chance"]) for row in rows]
    assert told == [("accuracy", "81.25", "%", "True", "25.0"), ("nll", "1.1875", "nats", "False", "")]
    (row,) = csv.DictReader(to_statistics_csv(comparison).splitlines())
    assert (row["measure"], row["mean"]) == ("nll", "1.1875")


def test_mean_elsewhere__measure_that_a_set_lacks__of_the_others_and_none_for_a_run_that_lacks_one(
    make_row, make_result, contents_for
):
    def result(method, seed, groups):
        rows = [make_row(0.5, split=split, **group) for split, group in groups.items()]
        return make_result(method, seed, make_row(0.9), *rows)

    whole = {"ood/a": {GROUP: Measure(0.2)}, "ood/b": {GROUP: Measure(0.4)}, "ood/c": {}}
    results = [result("first", 0, whole), result("first", 1, {**whole, "ood/b": {}})]
    comparison = compare_results(contents_for(*results), results, measures=[GROUP])
    cells = {cell.split: cell.values for cell in comparison.cells}
    assert cells == {
        "ood/a": {0: 20.0, 1: 20.0}, "ood/b": {0: 40.0}, "mean elsewhere": {0: pytest.approx(30.0)}
    }  # fmt: skip
    (table,) = result_tables(comparison)
    assert table.columns[:4] == ("method", "ood/a", "ood/b", "mean elsewhere")
    assert "no worst group/background of first-seed1 on ood/b" in notes_of(comparison)


def test_notes_of__what_the_task_notes__told_where_another_measure_is_shown(make_row, make_result, contents_for):
    row = make_row(0.9, notes=("left out: waterbird/land (3)",), **{GROUP: Measure(0.7)})
    results = [make_result("first", seed, row) for seed in (0, 1)]
    shown = compare_results(contents_for(*results), results, measures=[GROUP])
    assert notes_of(shown) == ["test: left out: waterbird/land (3)"]
    assert notes_of(compare_results(contents_for(*results), results)) == []


def test_caption__runs_of_different_rules__says_whose_is_which(make_row, make_result, contents_for):
    rule = "best worst_group/background on val, then nll, then the earliest"
    results = [make_result("a", 0, make_row(0.9)), make_result("b", 0, make_row(0.9), selection=rule)]
    results.append(make_result("c", 0, make_row(0.9)))
    (table,) = result_tables(compare_results(contents_for(*results), results))
    told = f"Checkpoint: as each recipe says: last epoch; nothing was selected (a, c); {rule} (b)."
    assert told in table.caption
    (table,) = result_tables(compare_results(contents_for(results[1]), results[1:2]))
    assert f"Checkpoint: {rule}." in table.caption


def test_compare_results__different_primary_measures__refused_unless_one_is_named(make_row, make_result, contents_for):
    results = [
        make_result("a", 0, make_row(0.9, nll=nll(0.1))),
        make_result("b", 0, make_row(0.4, primary="miou", nll=nll(0.3))),
    ]
    with pytest.raises(ConfigError, match="one primary measure for all methods, got accuracy and miou: name") as error:
        compare_results(contents_for(*results), results)
    assert "\n" not in str(error.value)
    comparison = compare_results(contents_for(*results), results, measures=["nll"])
    assert [cell.values for cell in comparison.cells] == [{0: 0.1}, {0: 0.3}]


def test_compare_results__unknown_measure_or_two_meanings__refused(make_row, make_result, contents_for):
    one = make_result("a", 0, make_row(0.9, nll=nll(0.1)))
    with pytest.raises(ConfigError, match="a measure of accuracy, nll, got 'nil': name one of them with --measure"):
        compare_results(contents_for(one), [one], measures=["nil"])
    other = make_result("b", 0, make_row(0.9, nll=Measure(0.2)))
    with pytest.raises(ConfigError, match="one meaning of nll for all methods, got nats, lower is better and %, hig"):
        compare_results(contents_for(one, other), [one, other], measures=["nll"])
