"""Errors stay what they are on their way between processes."""

import pickle

import pytest

from auxo.errors import ConfigError, DataError, InterruptedRunError


@pytest.mark.parametrize("kind", [ConfigError, DataError])
def test_error__pickled__comes_back_with_its_parts(kind):
    error = pickle.loads(pickle.dumps(kind("a", "b", "c")))
    assert type(error) is kind
    assert (error.expected, error.got, error.fix, error.exit_code) == ("a", "b", "c", 2)


def test_interrupted_run__pickled__keeps_the_signal():
    error = pickle.loads(pickle.dumps(InterruptedRunError("a", "b", "c", 15)))
    assert (error.signal_number, error.exit_code, str(error)) == (15, 143, "expected a, got b: c")
