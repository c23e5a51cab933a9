"""A disk that is full."""

import resource
from contextlib import contextmanager

import pytest


@pytest.fixture
def full_disk():
    """Let no file grow beyond a size: writing then fails as it does on a full disk."""

    @contextmanager
    def limit(num_bytes):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
