"""Rows whose measure is not an accuracy, heads that share a name but not their chance, groups, and notes."""

from dataclasses import replace

import pytest

from auxo.reporting.sections.heads import describe_guessing
from auxo.reporting.sections.words import titled, with_interval
from auxo.runs.history import Evaluated
from auxo.tasks import Measure, Part


def labels(page, start):
    """What is said of those charts to who does not see them."""
    return [
        attributes["aria-label"]
        for tag, attributes in page.tags
        if tag == "div" and attributes.get("id", "").startswith(start) and "aria-label" in attributes
    ]


def test_with_interval__fractions_and_nats__have_their_own_unit_and_digits(make_row):
    fraction = make_row(0.976, interval=(0.95, 0.99))
    nats = make_row(1.23456, primary="bits", unit="nats", interval=(1.1, 1.3))
    assert with_interval(fraction) == "97.6 % [95.0, 99.0]"
    assert with_interval(nats) == "1.235 nats [1.100, 1.300]"
    assert (fraction.main.shown, nats.main.shown) == (pytest.approx(97.6), 1.23456)
    assert (titled(fraction), titled(nats)) == ("accuracy, %", "bits, nats")


def test_describe_guessing__chance_not_known__says_nothing(make_row):
    assert make_row(0.5, chance=None).guessing is None
    assert describe_guessing([make_row(0.5, chance=None)]) == ""


def test_page__measure_in_nats__is_never_called_accuracy_or_percent(make_record, make_page, make_row):
    error = {"primary": "error", "unit": "nats", "chance": None, "higher_is_better": False}
    rows = [make_row(value, split=split, **error) for split, value in (("val", 1.5), ("test", 1.23456))]
    page = make_page(make_record("run", *rows))
    assert "The error on test is 1.235 nats." in page.texts
    (figure,) = [page.data[key] for key in page.data if key.startswith("primary-")]
    assert figure["data"][0]["x"] == pytest.approx([1.5, 1.2346], abs=1e-4)
    assert figure["data"][0]["text"][1] == "test: 1.235 [1.235, 1.235]"
    assert figure["layout"]["xaxis"]["title"]["text"] == "error, nats"
    assert not [text for text in page.texts if "accuracy" in text.lower()]


@pytest.mark.parametrize(("is_higher", "best"), [(False, "0.500 at epoch 1"), (True, "1.500 at epoch 2")])
def test_page__which_way_is_better__decides_the_best_of_the_course(make_record, make_page, make_row, is_higher, best):
    rows = [make_row(value, split="val", primary="m", unit="", higher_is_better=is_higher) for value in (0.5, 1.5)]
    seen = [Evaluated("train", step, float(step), row) for step, row in enumerate(rows, start=1)]
    page = make_page(replace(make_record("run", rows[1]), evaluated=seen))
    assert any(f"from 0.500 to 1.500, the best {best}" in text for text in page.texts)


def test_page__two_pretexts_of_one_name__stand_in_charts_of_their_own_chance(make_record, make_page, make_row):
    four = [make_row(0.5, head="rotation", kind="pretext", split=split) for split in ("val", "test")]
    sixteen = [make_row(0.2, head="rotation", kind="pretext", split=split, chance=1 / 16) for split in ("val", "test")]
    task = [make_row(0.9, split=split, chance=0.1) for split in ("val", "test")]
    page = make_page(make_record("four", *task, *four), make_record("sixteen", *task, *sixteen, batch_size=9))
    parts = [text for rank, text in page.headings if rank == 3 and text.startswith("rotation")]
    assert parts == ["rotation (guessing: 25.0 %)", "rotation (guessing: 6.2 %)"]
    assert len([key for key in page.data if key.startswith("pretext-")]) == 2
    told = [text for text in labels(page, "validation-") if "rotation (pretext)" in text]
    assert len(told) == 2
    assert "(guessing: 25.0 %): four from" in told[0]
    assert "(guessing: 6.2 %): sixteen from" in told[1]
    header, *lines = page.tables["The primary measure of pretexts, %"]
    assert header[-1] == "guessing"
    assert [line[1:] for line in lines if line[0].startswith("test")] == [
        ["50.0", "-", "25.0 %"],
        ["-", "20.0", "6.2 %"],
    ]


def test_page__runs_of_different_chance__are_not_said_to_lie_between(make_record, make_page, make_row):
    page = make_page(
        make_record("ten", make_row(0.3, chance=0.1)), make_record("two", make_row(0.6, chance=0.5), batch_size=9)
    )
    sentence = (
        "The accuracy of the runs is 30.0 % (guessing: 10.0 %) (ten, test) and 60.0 % (guessing: 50.0 %) (two, test)."
    )
    assert sentence in page.texts


def test_page__runs_of_different_measures__have_a_sentence_and_a_chart_each(make_record, make_page, make_row):
    page = make_page(
        make_record("classes", make_row(0.3)),
        make_record("depth", make_row(2.5, primary="error", unit="m", chance=None), batch_size=9),
    )
    assert "The accuracy on test is 30.0 % (guessing: 25.0 %)." in page.texts
    assert "The error on test is 2.500 m." in page.texts
    titles = [page.data[key]["layout"]["xaxis"]["title"]["text"] for key in page.data if key.startswith("primary-")]
    assert titles == ["accuracy, %", "error, m"]


def test_page__groups__have_a_table_with_the_worst_and_what_was_left_out(make_record, make_page, make_row):
    note = "left out of the worst group for fewer than ten images: b/water (3) (background)"
    row = make_row(
        0.8,
        parts={
            "class": {"a": Part(30, 0.9), "b": Part(20, 0.7)},
            "background": {"land": Part(40, 0.85), "water": Part(10, 0.6), "air": Part(0, None)},
        },
        notes=(note,),
        **{"worst_group/background": Measure(0.6, 0.3, 0.8)},
    )
    page = make_page(make_record("run", row))
    assert page.tables["By background"] == [
        ["set", "background", "images", "accuracy"],
        ["test", "land", "40", "85.0 %"],
        ["test", "water", "10", "60.0 %"],
        ["test", "air", "0", "-"],
        ["test", "worst with a class", "", "60.0 %"],
    ]
    assert "By class" not in page.tables
    assert note in page.texts
