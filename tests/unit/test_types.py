"""Choices: options with a few known values refuse all others, also where no command line has checked them."""

from typing import Literal

import pytest

from auxo.errors import ConfigError
from auxo.gates.learned import LearnedGate
from auxo.gates.torchjd import TorchJDGate
from auxo.losses import CrossEntropy
from auxo.methods.gssl import GSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GatedPretextsConfig
from auxo.types import require_choice

CHOICES = {
    OptimizerConfig: {"name": "adam", "schedule": "cosine_7_16", "moves": "steps"},
    CrossEntropy: {"class_weights": "inverse"},
    LearnedGate.Config: {"form": "softmax", "init": "zeros"},
    TorchJDGate.Config: {"aggregator": "nashmtl"},
    GatedPretextsConfig: {"flip_axis": "diagonal", "shuffle_space": "pixel"},
    GSSL.Config: {"covers": "class", "head": "cosines"},
    Supervised.Config: {"head": "cosines"},
}


def test_require_choice__known_value__is_let_through():
    require_choice("moves", "step", Literal["epoch", "step"])


def test_require_choice__other_value__is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="moves of epoch, step, got 'steps': choose one of them"):
        require_choice("moves", "steps", Literal["epoch", "step"])


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(kind, field, value) for kind, fields in CHOICES.items() for field, value in fields.items()],
)
def test_config__choice_that_does_not_exist__is_refused_at_once(kind, field, value):
    config = kind()
    object.__setattr__(config, field, value)  # past the type checks of the tests, which nobody else has
    with pytest.raises(ConfigError, match=f"{field.replace('_', '-')} of .*, got '{value}'"):
        config.__post_init__()
