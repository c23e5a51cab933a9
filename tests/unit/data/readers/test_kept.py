import pytest
import torch

from auxo.data.readers.kept import KeptImages
from auxo.errors import DataError


def refuse(place: int) -> DataError:
    return DataError("a value", f"none at {place}", "add it")


def test_drop__ignore__counts_every_image_once() -> None:
    kept = KeptImages("mine", 6, unknown="ignore")
    assert kept.notes() == ()
    kept.drop(torch.tensor([1, 1, 0, 0, 0, 0]).bool(), "without a", refuse)
    kept.drop(torch.tensor([0, 1, 1, 0, 0, 0]).bool(), "without b", refuse)
    kept.drop(torch.zeros(6).bool(), "without c", refuse)
    assert kept.places().tolist() == [3, 4, 5]
    assert kept.notes() == ("left out 3 of 6 images of 'mine': 2 without a, 1 without b",)


def test_drop__refuse__raises_for_the_first() -> None:
    kept = KeptImages("mine", 6, unknown="refuse")
    kept.drop(torch.zeros(6).bool(), "without a", refuse)
    with pytest.raises(DataError, match="none at 2"):
        kept.drop(torch.tensor([0, 0, 1, 0, 1, 0]).bool(), "without a", refuse)


def test_drop__fatal__raises_in_any_case() -> None:
    kept = KeptImages("mine", 2, unknown="ignore")
    with pytest.raises(DataError, match="none at 1"):
        kept.drop(torch.tensor([False, True]), "without a", refuse, is_fatal=True)


def test_places__none_left__is_refused() -> None:
    kept = KeptImages("mine", 2, unknown="ignore")
    kept.drop(torch.ones(2).bool(), "without a", refuse)
    with pytest.raises(DataError, match=r"an image that can be used, got none of 2 in 'mine' \(2 without a\)"):
        kept.places()
