"""Doubts about finished runs: each is found where it is, and nowhere else."""

import pytest

from auxo.methods.supervised import Supervised
from auxo.runs.document import to_json
from auxo.runs.doubts import find_doubts
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.history import RunHistory
from auxo.runs.journal import Journal
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure

CONFIG = ExperimentConfig(stages=(StageConfig(method=Supervised.Config(), name="train", epochs=8),))
GOOD = (0.4, 0.6, 0.7, 0.75, 0.795, 0.8, 0.8, 0.8)
FALLING = (2.3, 1.6, 1.2, 0.9, 0.8, 0.7, 0.7, 0.7)
CHOSEN = {
    "split": "val",
    "head": "semantic",
    "measure": "accuracy",
    "value": 0.8,
    "tie_break": "nll",
    "tie_value": 0.7,
    "step": 4,
    "epoch": 2,
}


def row(value, *, split="val", n=500, half=0.03, higher=True, unit="%", chance=0.1):
    measure = Measure(value, value - half, value + half, unit=unit, higher_is_better=higher)
    return EvaluationRow(split, "semantic", "task", n, "accuracy", {"accuracy": measure}, chance)


@pytest.fixture
def doubts_of(tmp_path):
    """Write a finished run with given values of each epoch and return the doubts about it."""

    def find(values=GOOD, losses=FALLING, *, selection=None, test=0.05, **options):
        (tmp_path / "config.json").write_text(to_json(CONFIG))
        journal = Journal(tmp_path, stages=["train"], first_steps=[0], tensorboard=False)
        for epoch, (value, loss) in enumerate(zip(values, losses, strict=True), start=1):
            journal.losses("train", epoch, float(epoch), {"class_loss": loss, "accuracy": 0.5}, {"main": 0.1}, 50.0)
            journal.evaluation("train", epoch, epoch, [row(value, **options)])
        rows = [row(values[-1], **options), row(test, split="test")]
        journal.evaluation("train", 8, 8, rows, kind="result")
        end = {"selection": selection, "train_seconds": 9.0, "images": 90, "flops": None}
        journal.write("end", "train", 8, end)
        journal.close()
        (tmp_path / "model.safetensors").touch()
        return find_doubts(RunHistory.read_finished(tmp_path))

    return find


def test_find_doubts__run_that_learned_and_levelled_off__has_none_whatever_its_test_says(doubts_of):
    assert doubts_of() == []


@pytest.mark.parametrize("last", [0.10, 0.12, 0.08])
def test_find_doubts__guessing_within_the_interval__is_told(doubts_of, last):
    (told,) = doubts_of([*[0.13] * 4, *[last] * 4])
    assert told.startswith(f"accuracy on val, {100 * last:.1f} %, is no better than guessing, 10.0 %")


def test_find_doubts__better_than_guessing_by_more_than_the_interval__is_not_told(doubts_of):
    assert doubts_of([0.14] * 8) == []


def test_find_doubts__lower_is_better__counts_the_other_way(doubts_of):
    options = {"higher": False, "unit": "", "chance": 0.5}
    assert doubts_of([0.4, 0.3, 0.2, *[0.1] * 5], **options) == []
    (told,) = doubts_of([*[0.4] * 4, *[0.49] * 4], **options)
    assert "no better than guessing" in told
    (told,) = doubts_of([0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1], **options)
    assert "still improving at the end, by 0.1 in the last 2 epochs" in told


@pytest.mark.parametrize(
    ("losses", "is_told"),
    [
        ((2.3, 1.0, 0.9, 0.9, 3.0, 4.0, 4.0, 4.0), True),
        ((2.3, 1.0, 0.9, 0.9, 1.0, 1.2, 1.5, 2.3), False),  # back where it began, not above
        ((2.3, 2.3, 2.3, 2.3, 2.3, 2.4, 2.4, 2.4), False),  # noise about the first
    ],
)
def test_find_doubts__loss_that_ended_above_its_start__is_told(doubts_of, losses, is_told):
    told = doubts_of(losses=losses)
    assert [each.startswith("the class loss ended at 4, above where it began, 2.3") for each in told] == [
        True
    ] * is_told


@pytest.mark.parametrize(
    ("values", "is_told"),
    [
        ((0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7), True),
        ((0.4, 0.6, 0.7, 0.78, 0.79, 0.79, 0.795, 0.795), False),  # by less than a point
        ((0.2, 0.9, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7), False),  # the best is long past
    ],
)
def test_find_doubts__measure_that_still_rose__is_told_with_how_much(doubts_of, values, is_told):
    told = doubts_of(values)
    assert ["still improving at the end, by 10.0 points in the last 2 epochs" in each for each in told] == [
        True
    ] * is_told


def test_find_doubts__few_evaluations__say_nothing_of_the_end(doubts_of):
    assert doubts_of((0.3, 0.5, 0.7), FALLING[:3]) == []


@pytest.mark.parametrize(("n", "selection", "is_told"), [(99, CHOSEN, True), (100, CHOSEN, False), (99, None, False)])
def test_find_doubts__checkpoint_chosen_by_few_images__is_told(doubts_of, n, selection, is_told):
    told = doubts_of(n=n, selection=selection)
    assert ["chosen by 99 validation images" in each for each in told] == [True] * is_told
