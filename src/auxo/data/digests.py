"""Digests of splits: what weights were made from, so that nothing that was trained on passes for held out."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property

from auxo.data.sources import AbstractSource, pixel_hashes, target_hashes

_VERSION = "v2"  # the first one has no mark


class SplitDigests(dict[str, str]):
    """The digest of each split by its name; it also knows the digests that earlier versions of auxo wrote.

    Args:
        learned: each split's images, and the names of the targets and columns that are learned of them.
        judged: the same of splits that decide nothing, whose digests are in the attribute of this name.

    Cost:
        Every learned image is read once, unless its source has been asked before, and every mask is decoded.
    """

    def __init__(
        self,
        learned: Mapping[str, tuple[AbstractSource, Sequence[str]]],
        judged: Mapping[str, tuple[AbstractSource, Sequence[str]]] | None = None,
    ) -> None:
        self._learned, self._judged = learned, judged
        super().__init__(
            (split, f"{_VERSION}:{_digest_hashes(source.content_hashes(), source, names)}")
            for split, (source, names) in learned.items()
        )

    @cached_property
    def judged(self) -> "Mapping[str, str]":
        """Digests of the splits that decide nothing; those are read when this is asked for."""
        return {} if self._judged is None else SplitDigests(self._judged)

    def is_same(self, split: str, recorded: str | None) -> bool:
        """Return whether a split is what a digest was recorded of, by this version or by an earlier one.

        Version 1 knew images in memory by their pixels and others by their encoded bytes. So the same images had two
        digests, depending on whether all sets of the run together fitted in memory; either is accepted.

        Args:
            split: its name.
            recorded: the digest; ``None`` where none was, as of a split that was not there.
        """
        present = self.get(split)
        if recorded == present or recorded is None or present is None or ":" in recorded:
            return recorded == present
        if f"{_VERSION}:{recorded}" == present:  # of encoded bytes, too
            return True
        source, names = self._learned[split]
        return recorded == _digest_hashes(pixel_hashes(source), source, names)


def list_differing(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    """Return the splits that two records say to be others; digests of different versions do not tell.

    Args:
        first: digests by split.
        second: the same of another file, which a later version may have written.
    """
    names = dict.fromkeys((*first, *second))
    is_of_two = {name: (":" in first.get(name, "")) != (":" in second.get(name, "")) for name in first.keys() & second}
    return [name for name in names if first.get(name) != second.get(name) and not is_of_two.get(name)]


def _digest_hashes(hashes: tuple[str, ...], source: AbstractSource, names: Sequence[str]) -> str:
    """Return a digest of images and of what is learned of them, in their order; other targets do not count."""
    content: list[object] = [hashes]
    for name in names:
        content += [name, source.vocabulary.get(name, ()), *target_hashes(source, name)]
    return hashlib.sha256(repr(tuple(content)).encode()).hexdigest()[:16]
