"""Whether the Hugging Face hub may be contacted: for what the user names, and not for what a stranger's run names."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_is_asked = ContextVar("is_asked", default=True)


@contextmanager
def asking_hub(is_asked: bool) -> Iterator[None]:
    """Let sets be fetched from the hub within the block, or only be taken from what this machine has of it."""
    token = _is_asked.set(is_asked)
    try:
        yield
    finally:
        _is_asked.reset(token)


def may_ask_hub() -> bool:
    """Return whether the hub may be contacted."""
    return _is_asked.get()


@contextmanager
def offline_libraries() -> Iterator[None]:
    """Let the libraries that know the hub take only what is in their cache."""
    switches = [importlib.import_module(name) for name in ("datasets.config", "huggingface_hub.constants")]
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    for switch in switches:
        vars(switch)["HF_HUB_OFFLINE"] = True
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            vars(switch)["HF_HUB_OFFLINE"] = value
