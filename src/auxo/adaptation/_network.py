"""Adapt a network in memory: check, change, hold against the proportions of training, keep or undo."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from auxo.adaptation._check import choose_judges, measure_fit
from auxo.adaptation._interface import AdaptationConfig, Setting

NOT_FITTING = "its predictions on these images fit the class proportions of training less than before"


class Outcome(NamedTuple):
    """What an adaptation did.

    Args:
        is_kept: whether the network is the adapted one; else it is as it was.
        reason: why it is not kept; "" where it is.
        doubts: what speaks against adapting, a sentence each.
        facts: numbers that say what was done.
    """

    is_kept: bool
    reason: str
    doubts: tuple[str, ...]
    facts: Mapping[str, float | int]


def adapt_network(config: AdaptationConfig, setting: Setting) -> Outcome:
    """Adapt the network of a setting in place, or leave it as it was where the adaptation fits worse.

    Args:
        config: how.
        setting: the network and the images.

    Raises:
        ConfigError: the network cannot be adapted so, or it has no head that predicts.
        DataError: an image is damaged.
        NonFiniteError: a value is not finite.
    """
    setting.reader.require_head()
    config.require(setting)
    doubts = config.find_doubts(setting)
    judges = choose_judges(setting) if config.is_checked else None
    if config.is_checked and judges is None:
        doubts.append("whether it fits cannot be checked: the task has no proportions of classes")
    before = 0.0 if judges is None else measure_fit(setting, judges)
    method = setting.reader.method
    state = _copy_state(method)
    facts = {name: _read_number(value) for name, value in config.adapt(setting).items()}
    is_kept = judges is None or measure_fit(setting, judges) >= before
    if not is_kept:
        method.load_state_dict(state)
    return Outcome(is_kept, "" if is_kept else NOT_FITTING, tuple(doubts), facts)


def _copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the state of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _read_number(value: Tensor | float | int) -> float | int:
    """Return a number as JSON has it."""
    return value.item() if isinstance(value, Tensor) else value
