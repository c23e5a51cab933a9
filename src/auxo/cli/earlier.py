"""Results of earlier commands are kept."""

import os
from pathlib import Path

from auxo.files import write_atomically
from auxo.files.lock import locked_names


def write_results(path: Path, content: str | bytes) -> Path | None:
    """Write results, and rename earlier ones to the first of ``NAME-1``, ``NAME-2``, … that is free: none are lost.

    Two commands that end at once both leave theirs.

    Returns:
        Where earlier results are now; ``None`` without any.

    Raises:
        OutputError: the place cannot be written.
    """
    kept: Path | None = None
    with locked_names(path.parent):
        if path.exists():
            number = 1
            while (free := path.with_stem(f"{path.stem}-{number}")).exists():
                number += 1
            os.rename(path, free)
            kept = free
        write_atomically(path, content)
    return kept
