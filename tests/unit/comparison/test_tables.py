"""What the tables of a comparison say, measure by measure, and what they refuse."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from auxo.comparison import (
    Contrast,
    Declaration,
    compare_results,
    difference_tables,
    notes_of,
    result_tables,
    to_long_csv,
    to_statistics_csv,
)
from auxo.errors import ConfigError
from auxo.tasks import Measure, Part

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
    assert differences.lines[0][:5] == ("second", "first", "test", "2", "+2.0")
    assert "in points; higher is better, so a difference above 0 is for the method" in differences.caption
    assert "Exploratory" in differences.caption  # nothing was declared
    assert "for the 1 difference of this kind" in differences.caption


def test_result_tables__another_measure__in_its_unit_and_the_side_that_is_better_said(compare):
    comparison = compare(measures=("nll",), first={0: 0.80, 1: 0.82}, second={0: 0.81, 1: 0.85})
    (table,) = result_tables(comparison)
    assert [line[:2] for line in table.lines] == [("first", "1.190 ± 0.014"), ("second", "1.170 ± 0.028")]
    assert table.caption.startswith("NLL in nats of the head semantic (lower is better)")
    assert "Guessing" not in table.caption
    (differences,) = difference_tables(comparison)
    assert differences.lines[0][4] == "-0.020"
    assert "p within (Holm)" not in differences.columns  # no margin is stated in nats
    assert "in nats; lower is better, so a difference below 0 is for the method" in differences.caption


def test_tables__several_measures__one_table_each_and_corrected_together(compare):
    values = {"first": {0: 0.80, 1: 0.82, 2: 0.81}, "second": {0: 0.81, 1: 0.85, 2: 0.83}}
    comparison = compare(measures=("primary", "nll", "accuracy"), **values)
    tables = result_tables(comparison)
    assert [table.columns[:3] for table in tables] == [("method", "test", "operations"), ("method", "test")]
    differences = difference_tables(comparison)
    assert [table.lines[0][4] for table in differences] == ["+2.0", "-0.020"]
    assert all("for the 2 differences of this kind" in table.caption for table in differences)
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


@pytest.fixture
def declare(make_row, make_result, contents_for):
    """Compare methods on three sets by declared contrasts, each method named with its accuracies by seed."""

    def made(*contrasts, looks=(), declaration=None, group=None, measures=("primary",), **values):
        results = [
            make_result(
                name, seed, *(make_row(value, split=split, nll=nll(2.0)) for split in ("test", "ood/a", "ood/b"))
            )
            for name, own in values.items()
            for seed, value in enumerate(own)
        ]
        declared = replace(declaration or Declaration(), contrasts=tuple(Contrast(*pair) for pair in contrasts))
        contents = replace(contents_for(*results), declaration=declared, looks=looks)
        return compare_results(contents, results, measures=measures, group=group)

    return made


BASE = (0.80, 0.82, 0.81, 0.83, 0.80)
BETTER = (0.85, 0.871, 0.862, 0.879, 0.85)
LEVEL = (0.801, 0.8195, 0.811, 0.8305, 0.8)
NOISY = (0.90, 0.75, 0.86, 0.72, 0.88)


def verdicts(table):
    """Verdicts by method, baseline and set."""
    return {(line[0], line[1], line[2]): line[-1] for line in table.lines}


def test_difference_tables__declared_contrasts__on_the_endpoint_are_primary_and_all_else_exploratory(declare):
    comparison = declare(("new", "base"), ("new", "off"), ("off", "base", False), base=BASE, new=BETTER, off=LEVEL)
    assert comparison.endpoint == ("accuracy", "mean elsewhere")
    primary, rest = difference_tables(comparison)
    assert primary.caption.startswith("Primary: the declared contrasts on the declared endpoint, mean elsewhere.")
    assert [line[:3] for line in primary.lines] == [
        ("new", "base", "mean elsewhere"),
        ("new", "off", "mean elsewhere"),
    ]
    assert "for the 2 differences of this kind" in primary.caption
    assert rest.caption.startswith("Exploratory: ")
    assert len(rest.lines) == 3 * 3 + 1
    assert "for the 10 differences of this kind" in rest.caption


def test_difference_tables__verdicts__say_what_was_seen_and_never_that_methods_are_level(declare):
    pairs = [(name, "base") for name in ("new", "level", "noisy", "same", "more")]
    more = [value + 0.25 for value in BASE]
    comparison = declare(*pairs, base=BASE, new=BETTER, level=LEVEL, noisy=NOISY, same=BASE, more=more)
    found = {key[0]: verdict for key, verdict in verdicts(difference_tables(comparison)[0]).items()}
    assert found == {
        "new": "better", "level": "within 1", "noisy": "undecided", "same": "equal in every pair",
        "more": "the same in every pair",
    }  # fmt: skip
    turned = declare(("base", "new"), base=BASE, new=BETTER, declaration=Declaration(margin="9"))
    assert set(verdicts(difference_tables(turned)[0]).values()) == {"worse, within 9"}


def test_difference_tables__smallest_difference__is_stated_as_a_range_for_each_set(declare):
    comparison = declare(("new", "base"), base=BASE, new=NOISY)
    primary, rest = difference_tables(comparison)
    std = np.std(100 * (np.array(NOISY) - np.array(BASE)), ddof=1)
    # 80 % power of five pairs at two-sided 5 %: 1.682 standard deviations, known to a factor of .599 to 2.874.
    value = 1.682 * std
    assert f"{value:.1f} points ({0.599 * value:.1f} to {2.874 * value:.1f}) on mean elsewhere" in primary.caption
    assert rest.caption.count(" points (") == 3


def test_difference_tables__looks__multiply_p_values_and_are_told(declare):
    looks = tuple({name: tuple(range(count)) for name in ("base", "new")} for count in (2, 3))
    values = {"base": BASE, "new": BETTER}
    once, thrice = declare(("new", "base"), **values), declare(("new", "base"), looks=looks, **values)
    assert thrice.differences[0].p_holm == pytest.approx(3 * once.differences[0].p_holm)
    told = (
        "new against base: table 3 of other seeds, so tested at 0.05 / 3; stopping at the first verdict errs more often"
    )
    assert told in "\n".join(notes_of(thrice))
    assert "and the looks" in difference_tables(thrice)[0].caption
    planned = declare(("new", "base"), declaration=Declaration(looks=4), **values)
    assert planned.differences[0].p_holm == pytest.approx(4 * once.differences[0].p_holm)
    assert notes_of(planned) == ["4 tables were planned, so each is tested at 0.05 / 4"]


def test_difference_tables__declared_measure_that_is_not_shown__is_noted_and_nothing_is_primary(declare):
    comparison = declare(("new", "base"), base=BASE, new=BETTER, measures=("nll",))
    assert "the primary endpoint, primary on the default set, is not in these tables" in notes_of(comparison)
    assert not any(each.is_primary for each in comparison.differences)


def test_to_statistics_csv__several_contrasts_of_a_method__a_row_for_each(declare):
    comparison = declare(("new", "base"), ("new", "off"), base=BASE, new=BETTER, off=LEVEL)
    rows = list(csv.DictReader(to_statistics_csv(comparison).splitlines()))
    own = [row for row in rows if (row["method"], row["set"]) == ("new", "mean elsewhere")]
    assert [(row["baseline"], row["family"], row["verdict"]) for row in own] == [
        ("base", "primary", "better"),
        ("off", "primary", "better"),
    ]
    assert float(own[0]["t90_low"]) > float(own[0]["t_low"])
    assert [row["verdict"] for row in rows if row["method"] == "base"] == [""] * 4


def writers(values, sizes=(10, 30, 20)):
    """Accuracies by writer, and that of all images."""
    parts = {f"w{k}": Part(n, value) for k, (n, value) in enumerate(zip(sizes, values, strict=True))}
    return {"writer": {"absent": Part(0, None), **parts}}, sum(p.n * p.value for p in parts.values()) / sum(sizes)


def test_compare_results__group__intervals_are_over_seeds_and_groups(make_row, make_result, contents_for):
    random = np.random.default_rng(0)
    found = {name: random.integers(4, 10, size=(3, 3)) / 10 for name in ("base", "new")}

    def result(name, seed):
        parts, accuracy = writers(found[name][seed])
        row = replace(make_row(accuracy, split="ood/a", nll=nll(1.0)), parts=parts)
        return make_result(name, seed, make_row(0.5 + seed / 10), row)

    results = [result(name, seed) for name in found for seed in range(3)]
    comparison = compare_results(contents_for(*results), results, measures=("primary", "nll"), group="writer")
    own = {(each.measure, each.split): each for each in comparison.differences}
    weights = np.array([10, 30, 20]) / 60
    by_group = 100 * (found["new"] - found["base"])
    assert own["accuracy", "ood/a"].mean == pytest.approx((by_group.mean(0) * weights).sum())
    assert (own["accuracy", "ood/a"].num_groups, own["accuracy", "test"].num_groups) == (3, 0)
    centred = by_group.mean(0) - own["accuracy", "ood/a"].mean
    groups_part = 3 / 2 * ((weights * centred) ** 2).sum()
    assert own["accuracy", "ood/a"].estimate.errors ** 2 >= groups_part
    assert own["accuracy", "ood/a"].bootstrap is None  # under ten groups
    assert "test has no column writer: its images are taken as they are" in notes_of(comparison)
    assert any("known of the primary measure alone: for nll" in note for note in notes_of(comparison))
    assert "over seeds and each writer" in difference_tables(comparison)[0].caption
    with pytest.raises(ConfigError, match="a further column of the test images, got 'place'; the sets have writer"):
        compare_results(contents_for(*results), results, group="place")


def test_compare_results__two_groups__no_interval_and_no_verdict(make_row, make_result, contents_for):
    def result(name, seed, values):
        parts, accuracy = writers(values, sizes=(10, 10))
        return make_result(name, seed, replace(make_row(accuracy), parts=parts))

    values = {"base": [(0.5, 0.6), (0.6, 0.6)], "new": [(0.9, 0.8), (0.8, 0.9)]}
    results = [result(name, seed, each) for name, own in values.items() for seed, each in enumerate(own)]
    comparison = compare_results(contents_for(*results), results, group="writer")
    (table,) = difference_tables(comparison)
    assert table.lines[0][4:8] == ("+27.5", "-", "-", "-")
    assert table.lines[0][-1] == "undecided"
    assert "Of two groups there is no interval." in table.caption
    assert "Which differences could have been seen is not known." in table.caption


def test_compare_results__classes__their_mean_and_the_worst_stand_beside_accuracy(make_row):
    from auxo.comparison.results import add_class_measures

    parts = {"class": {"a": Part(90, 0.9), "b": Part(10, 0.3), "absent": Part(0, None)}}
    row = add_class_measures(replace(make_row(0.84), parts=parts))
    assert row.measures["macro"].value == pytest.approx(0.6)
    assert row.measures["worst_class"].value == 0.3
    assert list(add_class_measures(make_row(0.84)).measures) == ["accuracy"]


def test_difference_tables__images_of_one_pool__variance_of_overlapping_training_sets_and_the_caption_says_where(
    declare,
):
    fixed = declare(("new", "base"), base=BASE, new=NOISY)
    contents = replace(fixed.contents, redrawn={"test": 0.125, "ood/a": 0.0})
    comparison = compare_results(contents, fixed.results)
    before, after = ({each.split: each.estimate.errors for each in made.differences} for made in (fixed, comparison))
    assert after["test"] == pytest.approx(before["test"] * np.sqrt((1 / 5 + 0.125) / (1 / 5)))
    assert after["ood/a"] == before["ood/a"]
    caption = difference_tables(comparison)[0].caption + difference_tables(comparison)[1].caption
    assert "(1 / n + 0.125) s² of Nadeau and Bengio (2003) on test." in caption
    assert "for the images as they are, on mean elsewhere." in caption
    pooled = compare_results(replace(contents, redrawn={"ood/a": 0.2}), fixed.results)
    assert next(iter(pooled.differences)).estimate.errors > fixed.differences[0].estimate.errors


def test_result_tables__classes_that_fail__stand_beside_accuracy(make_row, make_result, contents_for):
    from auxo.comparison.results import add_class_measures

    def result(seed, *values):
        parts = {"class": {name: Part(10, value) for name, value in zip("ab", values, strict=True)}}
        return make_result("one", seed, add_class_measures(replace(make_row(sum(values) / 2), parts=parts)))

    results = [result(0, 0.9, 0.2), result(1, 0.3, 0.8)]
    _, table = result_tables(compare_results(contents_for(*results), results))
    assert table.columns == ("method", "test: macro", "test: worst class")
    assert table.lines == (("one", "55.0", "25.0"),)
    shown = compare_results(contents_for(*results), results, measures=("primary", "macro"))
    assert [table.columns[-1] for table in result_tables(shown)][-1] == "test: worst class"
    assert len(result_tables(compare_results(contents_for(*results), results, measures=("macro",)))) == 1


def test_notes_of__runs_that_raise_doubts__counted_by_method_with_the_first(make_row, make_result, contents_for):
    results = [make_result("one", seed, make_row(0.9)) for seed in range(3)]
    results[1:] = [replace(each, doubts=("it is at chance", "it diverged")) for each in results[1:]]
    comparison = compare_results(contents_for(*results), results)
    assert notes_of(comparison) == ["2 of 3 runs of one raise doubts; one-seed1: it is at chance"]
