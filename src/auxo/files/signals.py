"""Signals that ask a run to stop, which it does between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ALWAYS = ("SIGINT", "SIGTERM")
_UNLESS_IGNORED = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")  # of a terminal that is closed, and of schedulers
STOPPING = tuple(getattr(signal, name) for name in _ALWAYS + _UNLESS_IGNORED if hasattr(signal, name))
"""Signals that ask a run to save its state and leave."""


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
    """Turn a signal of ``STOPPING`` into a request inside the block; a second one ends the process as usual.

    Those but SIGINT and SIGTERM stay as they are where they are ignored, as under ``nohup``, or have a handler already.
    """
    request = StopRequest()
    previous: dict[int, Any] = {}

    def handle(number: int, _frame: FrameType | None) -> None:
        request.signal_number = request.signal_number or number
        signal.signal(number, previous[number])

    for number in STOPPING:
        if number.name in _ALWAYS or signal.getsignal(number) is signal.SIG_DFL:
            previous[number] = signal.signal(number, handle)
    try:
        yield request
    finally:
        for caught, handler in previous.items():
            signal.signal(caught, handler)


def ignore_stopping() -> None:
    """Ignore the signals of ``STOPPING`` in this process, which another one ends: they reach whole process groups."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # those that came while they were held are ignored, too


@contextmanager
def hold_stopping() -> Iterator[None]:
    """Let the signals of ``STOPPING`` wait inside the block, also in processes that it starts.

    A process that is to ignore them would be ended by one that comes before it has begun to.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
