"""Scores of single images, gathered over batches and processes."""

from pathlib import Path

import pytest
import torch

from auxo.errors import ShapeError
from auxo.evaluation.tally import Tally
from auxo.runtime import Runtime, RuntimeConfig

from .processes import in_processes
from .tally_in_one_process import scores_of

RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))


def test_merge__items_in_any_order__are_in_the_order_of_the_set() -> None:
    tally = Tally(7, RUNTIME)
    for positions in (torch.tensor([6, 0]), torch.tensor([3, 5, 1]), torch.tensor([4, 2])):
        tally.add(scores_of(positions), positions)
    for name, values in scores_of(torch.arange(7)).items():
        assert torch.equal(tally.merge()[name], values.double())


def test_merge__whole_numbers_and_answers__are_float64() -> None:
    tally = Tally(2, RUNTIME)
    tally.add({"count": torch.tensor([2**40 + 1, 3]), "is_right": torch.tensor([True, False])}, torch.arange(2))
    merged = tally.merge()
    assert merged["count"].tolist() == [2**40 + 1, 3]
    assert merged["is_right"].dtype == merged["count"].dtype == torch.float64


def test_expect__nothing_added__gives_zeros_of_the_names_and_shapes() -> None:
    tally = Tally(3, RUNTIME)
    tally.expect({"one": torch.ones(1), "two": torch.ones(1, 2)})
    assert {name: values.tolist() for name, values in tally.merge().items()} == {
        "one": [0.0] * 3,
        "two": [[0.0] * 2] * 3,
    }


def test_add__within_and_outside_inference__goes_into_one_tally() -> None:
    tally = Tally(2, RUNTIME)
    with torch.inference_mode():
        tally.add({"x": torch.tensor([1.0])}, torch.tensor([0]))
    tally.add({"x": torch.tensor([2.0], requires_grad=True).detach()}, torch.tensor([1]))
    assert tally.merge()["x"].tolist() == [1.0, 2.0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [7, 1])
def test_merge__two_processes__have_both_what_one_has(tmp_path: Path, size: int) -> None:
    (alone,) = in_processes("tally_in_one_process.py", tmp_path, size, num_processes=1)
    first, second = in_processes("tally_in_one_process.py", tmp_path, size)
    assert first == second == alone
    assert alone["exact"] == scores_of(torch.arange(size))["exact"].tolist()


def test_add__not_one_score_for_each_item__is_refused() -> None:
    with pytest.raises(ShapeError, match=r"2 scores 'loss', got the shape \(\): let the task's score return one"):
        Tally(3, RUNTIME).add({"loss": torch.tensor(0.5)}, torch.arange(2))
