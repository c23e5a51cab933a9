"""Results of earlier commands are kept."""

import os
from pathlib import Path

from auxo.files import write_atomically
from auxo.files.lock import locked_names


def write_results(path: Path, content: str) -> None:
    """Write results, and rename earlier ones to the first of ``NAME-1``, ``NAME-2``, … that is free: none are lost.

    Two commands that end at once both leave theirs.

    Raises:
        OutputError: the place cannot be written.
    """
    with locked_names(path.parent):
        if path.exists():
            number = 1
            while (kept := path.with_stem(f"{path.stem}-{number}")).exists():
                number += 1
            os.rename(path, kept)
        write_atomically(path, content)
