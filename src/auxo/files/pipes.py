"""What is called like a file and is none is refused before it is opened."""

from pathlib import Path

from auxo.errors import CheckpointError


def refuse_pipe(path: Path, *, expected: str, fix: str) -> None:
    """Refuse what is there and no file: to open a pipe would wait for who writes into it, and a device never ends.

    Args:
        path: of what is about to be opened; nothing need be there.
        expected: what would have been right, with the place, for the message.
        fix: what the user can do.

    Raises:
        CheckpointError: it is a pipe, a socket, a device or a folder.
    """
    if path.exists() and not path.is_file():
        raise CheckpointError(expected, "a folder" if path.is_dir() else "a pipe, socket or device", fix)
