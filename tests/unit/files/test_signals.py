"""Which signals ask a run to stop, and which are left alone."""

import os
import signal

import pytest

from auxo.files.signals import STOPPING, ignore_stopping, stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU])
def test_stop_on_signal__of_a_user_terminal_or_scheduler__is_a_request(number):
    found = signal.signal(number, signal.SIG_DFL)  # under nohup SIGHUP is ignored
    before = signal.getsignal(number)
    with stop_on_signal() as stop:
        assert not stop
        signal.raise_signal(number)
        assert stop.signal_number == number
        other = next(each for each in STOPPING if each != number)
        signal.raise_signal(other)
        assert stop.signal_number == number, "the first one decides the exit code"
    assert signal.getsignal(number) is before
    signal.signal(number, found)


def test_stop_on_signal__ignored_at_the_start__stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_stop_on_signal__second_of_a_kind__does_what_it_did_before():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        with stop_on_signal() as stop:  # whoever put a handler there keeps it
            signal.raise_signal(signal.SIGUSR1)
            assert not stop
            assert seen == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_ignore_stopping__signal_to_the_group__leaves_the_process_alone():
    child = os.fork()
    if child == 0:
        ignore_stopping()
        for number in STOPPING:
            os.kill(os.getpid(), number)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
