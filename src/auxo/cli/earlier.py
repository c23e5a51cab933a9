"""Results of earlier commands are kept."""

from pathlib import Path


def keep_earlier(path: Path) -> None:
    """Rename earlier results to the first of ``NAME-1``, ``NAME-2``, … that is free, so that none are lost."""
    if path.exists():
        number = 1
        while (kept := path.with_stem(f"{path.stem}-{number}")).exists():
            number += 1
        path.rename(kept)
