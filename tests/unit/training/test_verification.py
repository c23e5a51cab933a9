"""What can be replayed of a run, how it is drawn, and how equal to the bit is told from nearly."""

from pathlib import Path

import pytest
import torch

from auxo.runs.checkpoint import Progress
from auxo.training.verification.differences import (
    NumberedRow,
    compare_rows,
    compare_trees,
    flatten,
    measure_way,
)
from auxo.training.verification.segments import draw_segments, list_segments, measure_share
from auxo.training.verification.stored import Stored, StoredRun, StoredStage


def stage(name, number, steps, *, refused=()):
    """A stage whose every step took a second."""
    saved = tuple(
        Stored(Path(f"{name}-{step:08d}.safetensors"), step, Progress(train_seconds=float(step)), "", {})
        for step in steps
        if step not in refused
    )
    return StoredStage(name, number, saved, None, None, None, tuple(refused))


def run_of(*stages):
    return StoredRun(Path("run"), stages, None, {}, ())


def test_list_segments__two_stages__each_begins_with_its_first_weights():
    segments = list_segments(run_of(stage("a", 0, [4, 10]), stage("b", 1, [3])))
    assert [(each.number, each.stage, each.first, each.last, each.seconds) for each in segments] == [
        (1, "a", 0, 4, 4.0),
        (2, "a", 4, 10, 6.0),
        (3, "b", 0, 3, 3.0),
    ]


def test_list_segments__refused_checkpoint__is_no_end_and_no_start():
    segments = list_segments(run_of(stage("a", 0, [4, 8, 12, 16], refused=[8])))
    assert [(each.first, each.last) for each in segments] == [(0, 4), (12, 16)]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 1.0])
def test_draw_segments__equal_ones__are_as_many_as_the_share_allows(share):
    segments = list_segments(run_of(stage("a", 0, range(10, 201, 10))))
    drawn = draw_segments(segments, share=share, seed=3)
    assert len(drawn) == round(20 * share)
    assert measure_share(drawn, segments).part == pytest.approx(share)
    assert drawn == draw_segments(segments, share=share, seed=3)
    assert drawn == sorted(drawn)


def test_draw_segments__every_segment__is_drawn_under_some_seed_about_as_often():
    segments = list_segments(run_of(stage("a", 0, range(10, 101, 10))))
    counts = torch.zeros(10)
    for seed in range(200):
        (drawn,) = draw_segments(segments, share=0.1, seed=seed)
        counts[drawn.number - 1] += 1
    assert counts.min() > 2  # 20 expected, with a deviation of 4.2
    assert counts.max() < 45


def test_draw_segments__none_is_short_enough__takes_the_shortest():
    segments = list_segments(run_of(stage("a", 0, [60, 100])))
    assert [each.last for each in draw_segments(segments, share=0.05, seed=0)] == [100]
    assert draw_segments([], share=0.5, seed=0) == []


def test_draw_segments__long_first_segment__leaves_room_for_none_but_the_short_one():
    segments = list_segments(run_of(stage("a", 0, [95, 100])))
    assert all([each.last for each in draw_segments(segments, share=0.1, seed=seed)] == [100] for seed in range(9))


def test_flatten__nested__names_every_leaf():
    assert dict(flatten({"a": [1, {"b": None}], "c": (2,)})) == {"a.0": 1, "a.1.b": None, "c.0": 2}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.tensor([1.0]), torch.tensor([1.0 + 2**-23])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.tensor([1.0]), torch.tensor([[1.0]])),
        (1, 1.0),
        (True, 1),
        (torch.tensor(1), 1),
    ],
)
def test_compare_trees__not_equal_to_the_bit__differs(ours, theirs):
    found = compare_trees({"x": ours, "y": 0}, {"x": theirs, "y": 0})
    assert found.names == ("x",)
    assert found.compared == 2


def test_compare_trees__nan_of_the_same_bits_and_an_ignored_part__is_equal():
    ours = {"a": torch.tensor([float("nan")]), "b": float("nan"), "seconds": 1.0, "deep": {"seconds": 1}}
    theirs = {"a": torch.tensor([float("nan")]), "b": float("nan"), "seconds": 2.0, "deep": {"seconds": 1}}
    assert compare_trees(ours, theirs, ignored=("seconds",)) is None
    assert compare_trees({"a": 1}, {"a": 1, "b": 2}).names == ("b",)


def test_compare_trees__several_differ__names_the_largest():
    ours = {"a": torch.zeros(3), "b": torch.zeros(2), "c": torch.zeros(1)}
    theirs = {"a": torch.tensor([0.0, 0.25, 0.0]), "b": torch.tensor([0.0, -2.0]), "c": torch.zeros(1)}
    found = compare_trees(ours, theirs)
    assert found == (("a", "b"), 3, 2.0, "b")
    assert found.describe() == "2 of 3 tensors and values differ (a, b), at most by 2, in b"


def test_measure_way__two_tensors__is_their_euclidean_distance():
    ours = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor(4.0), "count": torch.tensor(7)}
    assert measure_way(ours, {"a": torch.zeros(2), "b": torch.tensor(0.0), "count": torch.tensor(0)}) == 5.0


def row(step, loss, **more):
    return {"kind": "losses", "step": step, "losses": {"a_loss": loss}, **more}


def test_compare_rows__one_changed__says_line_name_and_size():
    recorded = [NumberedRow(5, row(1, 1.0, speed=3)), NumberedRow(6, row(2, 0.5, speed=4))]
    assert compare_rows(recorded, [row(1, 1.0, speed=9), row(2, 0.5)], ignored=("speed",)) is None
    found = compare_rows(recorded, [row(1, 1.0), row(2, 0.25)], ignored=("speed",))
    assert found.text == (
        "1 of 2 rows differ, first line 6, losses of step 2: losses.a_loss is 0.5 and comes out as 0.25"
    )
    assert found.largest == 0.5


def test_compare_rows__missing_or_others__says_which():
    recorded = [NumberedRow(5, row(1, 1.0)), NumberedRow(6, row(2, 1.0))]
    assert "2 rows are recorded and 1 come out" in compare_rows(recorded, [row(1, 1.0)], ignored=()).text
    assert (
        "only on one side is losses of step 3"
        in compare_rows(recorded, [each.row for each in recorded] + [row(3, 1.0)], ignored=()).text
    )
    found = compare_rows(recorded, [row(1, 1.0), row(3, 1.0)], ignored=())
    assert found == ("line 6 is losses of step 2 where losses of step 3 comes out", None)
    assert compare_rows(recorded[:1], [row(1, "much")], ignored=()).largest is None
