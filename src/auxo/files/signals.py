"""SIGINT and SIGTERM as a wish to stop, granted between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopRequest:
    """Remembers the first signal that asked to stop.

    Attributes:
        signal_number: of the signal, or ``None`` so far.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def __bool__(self) -> bool:
        return self.signal_number is not None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request inside the block; a second one ends the process as usual."""
    request = StopRequest()
    previous: dict[int, Any] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        request.signal_number = number
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        yield request
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)
