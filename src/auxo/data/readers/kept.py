"""Which images of a set stay, where some have no value or one that means nothing."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from auxo.data.columns import shorten
from auxo.data.config import Unknown
from auxo.errors import DataError

LEAVE_OUT = "leave such images out with --data.unknown ignore"
"""What else can be done about an image that is refused."""


def describe_unknown(column: str) -> str:
    """Return what images have in common whose value of a column is not among those of the training set."""
    return f"with a value of '{column}' that train does not have"


def refuse_unknown(column: str, names: Sequence[str], got: str) -> DataError:
    """Return the error for an image whose value of a column is not among those of the training set.

    Args:
        column: its name.
        names: of the training set.
        got: the value, and where.
    """
    expected, fix = (
        f"values of '{column}' that train has ({shorten(names)})",
        f"correct it, remove the image, or {LEAVE_OUT}",
    )
    return DataError(expected, got, fix)


@final
class KeptImages:
    """The images of a set that can be used, and what is said of the others.

    Args:
        name: of the set, for messages.
        count: of its images.
        unknown: "refuse" stops at an image that cannot be used; "ignore" leaves it out.
        members: positions of the images that belong to the set; ``None`` where all do.
    """

    def __init__(self, name: str, count: int, *, unknown: Unknown, members: Int[Tensor, " n"] | None = None) -> None:
        self._name = name
        self._is_kept = torch.ones(count, dtype=torch.bool)
        if members is not None:
            self._is_kept = torch.zeros(count, dtype=torch.bool).index_fill(0, members, True)
        self._count = int(self._is_kept.sum())
        self._unknown = unknown
        self._reasons: dict[str, int] = {}

    def drop(
        self,
        is_unusable: Bool[Tensor, " n"],
        reason: str,
        refusal: Callable[[int], DataError],
        *,
        is_fatal: bool = False,
    ) -> None:
        """Leave images out.

        Args:
            is_unusable: of every image of the set.
            reason: what they have in common, after their number.
            refusal: makes the error for one of them, by its position.
            is_fatal: whether they are refused in any case.

        Raises:
            DataError: there are some, and such are refused.
        """
        places = (is_unusable & self._is_kept).nonzero().flatten()
        if not len(places):
            return
        if is_fatal or self._unknown != "ignore":
            raise refusal(int(places[0]))
        self._is_kept[places] = False
        self._reasons[reason] = self._reasons.get(reason, 0) + len(places)

    def places(self) -> Int[Tensor, " kept"]:
        """Return the positions of the images that stay, in order.

        Raises:
            DataError: there are none.
        """
        places = self._is_kept.nonzero().flatten()
        if not len(places):
            got = f"none of {self._count} in '{self._name}' ({self._describe_reasons()})"
            raise DataError("an image that can be used", got, "check the columns and their values")
        return places

    def notes(self) -> tuple[str, ...]:
        """Return a sentence about the images that were left out, if there are any."""
        if not self._reasons:
            return ()
        count = self._count - int(self._is_kept.sum())
        return (f"left out {count} of {self._count} images of '{self._name}': {self._describe_reasons()}",)

    def _describe_reasons(self) -> str:
        """Return how many images were left out for what."""
        return ", ".join(f"{count} {reason}" for reason, count in self._reasons.items())
