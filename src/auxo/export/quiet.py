"""Another library's notes kept off the terminal."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_logger(name: str, *, level: int) -> Iterator[None]:
    """Let a logger say only what is of a level or above it within the block.

    Args:
        name: of the logger.
        level: one of the module ``logging``, such as ``logging.ERROR``.
    """
    log = logging.getLogger(name)
    before = log.level
    log.setLevel(level)
    try:
        yield
    finally:
        log.setLevel(before)
