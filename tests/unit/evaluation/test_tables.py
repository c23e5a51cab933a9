import io
from dataclasses import replace

import pytest
from rich.console import Console

from auxo.errors import DataError
from auxo.evaluation import build_table, to_markdown, to_rich
from auxo.runs.results import Compute, EvaluationRow, Selection
from auxo.tasks import Measure

COMPUTE = Compute(train_seconds=12.34, images=24_000)


def row(split: str, head: str, accuracy: float, kind: str = "task", chance: float | None = None) -> EvaluationRow:
    measures = {"accuracy": Measure(accuracy, accuracy - 0.017, accuracy + 0.01), "nll": Measure(0.0921, unit="nats")}
    if kind == "task":
        measures["ece"] = Measure(0.0213, higher_is_better=False)
    return EvaluationRow(split, head, kind, 500, "accuracy", measures, chance)


ROWS = [
    row("val", "semantic", 0.978),
    row("val", "auxiliary", 0.97),
    row("val", "mean", 0.975),
    row("val", "rotation", 0.9, "pretext"),
    row("ood/optdigits", "semantic", 0.62),
    row("ood/optdigits", "mean", 0.6),
]


def test_build_table__one_seed__has_intervals_by_split_and_head() -> None:
    table = build_table(ROWS, selection=None, compute=COMPUTE)
    assert table.columns == (
        "split",
        "images",
        "semantic",
        "auxiliary",
        "mean",
        "rotation",
        "NLL",
        "ECE",
    )
    assert table.lines == (
        (
            "val",
            "500",
            "97.8 [96.1, 98.8]",
            "97.0 [95.3, 98.0]",
            "97.5 [95.8, 98.5]",
            "90.0 [88.3, 91.0]",
            "0.092",
            "2.1",
        ),
        ("ood/optdigits", "500", "62.0 [60.3, 63.0]", "-", "60.0 [58.3, 61.0]", "-", "0.092", "2.1"),
    )


def test_build_table__last_epoch__caption_says_that_nothing_was_selected() -> None:
    caption = build_table(ROWS, selection=None, compute=COMPUTE).caption
    assert "Checkpoint: last epoch; nothing was selected." in caption
    assert "Of semantic also NLL in nats, ECE in percent (lower is better)." in caption
    assert "1 seed." in caption
    assert "12.3 s, 24,000 training images seen" in caption
    assert "operations not counted" in caption
    assert "interval is too narrow" in caption


def test_build_table__selected_checkpoint__caption_names_split_and_epoch() -> None:
    best = Selection("val", "semantic", "accuracy", 0.978, "nll", 0.09, step=70, epoch=7)
    compute = replace(COMPUTE, flops=1.5e12)
    caption = build_table(ROWS[:3], selection=best, compute=compute).caption
    assert "Checkpoint: best accuracy of semantic on val at epoch 7." in caption
    assert "1.5e+12 floating-point operations" in caption
    assert "too narrow" not in caption


def test_build_table__three_seeds__gives_mean_and_sample_deviation() -> None:
    rows = [row("test", "semantic", accuracy) for accuracy in (0.9, 0.92, 0.97)]
    table = build_table(rows, selection=None, compute=COMPUTE, num_seeds=3)
    assert table.lines == (("test", "500", "93.0 ± 3.6", "0.092 ± 0.000", "2.1 ± 0.0"),)
    assert "over 3 seeds" in table.caption
    assert "interval" not in table.caption


def test_build_table__pretext_named_as_a_head__keeps_both_columns() -> None:
    rows = [row("val", "rotation", 0.5), row("val", "rotation", 0.25, "pretext")]
    table = build_table(rows, selection=None, compute=COMPUTE)
    assert table.columns[2:4] == ("rotation", "rotation (pretext)")
    assert [cell[:4] for cell in table.lines[0][2:4]] == ["50.0", "25.0"]


def test_build_table__pretexts_alone__have_neither_likelihood_nor_calibration() -> None:
    table = build_table([row("val", "rotation", 0.25, "pretext")], selection=None, compute=COMPUTE)
    assert table.columns == ("split", "rotation")
    assert table.lines == (("val", "25.0 [23.3, 26.0]"),)
    assert "No head predicts: the features can be judged with auxo evaluate --probe all." in table.caption
    assert "NLL" not in table.caption


def test_build_table__nothing_measured__is_a_caption() -> None:
    table = build_table([], selection=None, compute=COMPUTE)
    assert table.lines == ()
    assert table.caption.startswith("No head predicts: ")
    assert to_markdown(table) == f"{table.caption}\n"


def test_build_table__missing_seed__is_named() -> None:
    with pytest.raises(DataError, match="expected 2 rows of semantic on val, one per seed, got 1"):
        build_table(ROWS[:1], selection=None, compute=COMPUTE, num_seeds=2)


def test_to_markdown__table__has_a_rule_and_escapes_bars() -> None:
    table = build_table([row("ood/a|b", "semantic", 0.5)], selection=None, compute=COMPUTE)
    lines = to_markdown(table).splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[2].startswith("| ood/a\\|b | 500 | 50.0 [48.3, 51.0] |")
    assert lines[-1] == table.caption


def test_to_rich__names_like_markup__are_printed_as_they_are() -> None:
    table = build_table([row("ood/[red]", "semantic", 0.5)], selection=None, compute=COMPUTE)
    console = Console(file=io.StringIO(), width=200)
    console.print(to_rich(table))
    printed = console.file.getvalue()
    assert "ood/[red]" in printed
    assert "50.0 [48.3, 51.0]" in printed
    assert "nothing was selected" in printed


def test_build_table__known_chance__stands_below_by_head() -> None:
    rows = [row("val", "semantic", 0.9, chance=0.1), row("val", "lorot", 0.08, "pretext", chance=1 / 16)]
    caption = build_table(rows, selection=None, compute=COMPUTE).caption
    assert "Guessing would reach: semantic 10.0 %, lorot 6.2 %." in caption


def test_build_table__chance_in_a_unit_and_two_heads_of_one_name__each_has_its_own() -> None:
    depth = EvaluationRow("val", "rotation", "task", 7, "error", {"error": Measure(1.0, unit="m")}, chance=3.2)
    rows = [depth, row("val", "rotation", 0.5, "pretext", chance=0.25)]
    caption = build_table(rows, selection=None, compute=COMPUTE).caption
    assert "Guessing would reach: rotation 3.200 m, rotation 25.0 %." in caption


def test_build_table__other_task__has_its_measures_in_their_units() -> None:
    measures = {"error": Measure(1.25, 1.0, 1.5, unit="steps", higher_is_better=False), "mIoU": Measure(0.5)}
    table = build_table([EvaluationRow("test", "depth", "task", 7, "error", measures)], selection=None, compute=COMPUTE)
    assert table.columns == ("split", "images", "depth", "mIoU")
    assert table.lines == (("test", "7", "1.250 [1.000, 1.500]", "50.0"),)
    assert "Error in steps (lower is better), with its 95 % interval" in table.caption
