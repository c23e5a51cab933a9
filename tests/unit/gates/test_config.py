"""The gates' options: what they build, from which random numbers, and what they refuse."""

import math

import pytest
import torch

from auxo.errors import ConfigError, OptionError
from auxo.gates import GateConfig
from auxo.gates.frozen import FrozenGate
from auxo.gates.learned import LearnedGate
from auxo.gates.learned_scalar import LearnedScalarGate
from auxo.options import find_member, list_members


@pytest.mark.parametrize("name", ["frozen", "learned"])
def test_build__same_seed__same_first_weights_and_untouched_generator(build, name):
    state = torch.random.get_rng_state()
    first, again, other = (build(name=name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert not torch.equal(first["layer.weight"], other["layer.weight"])


def test_build__frozen_and_learned__start_alike(build):
    assert torch.equal(build(name="frozen").layer.weight, build(name="learned").layer.weight)


def test_init__kaiming__is_wider_than_a_linear_layers_own():
    spread = {}
    for init in ("default", "kaiming"):
        gate = FrozenGate.Config(init=init).build(num_features=4096, num_outputs=(2, 6), seed=0)
        spread[init] = gate.layer.weight.std().item() * math.sqrt(4096)
    assert spread["default"] == pytest.approx(1 / math.sqrt(3), rel=0.03)
    assert spread["kaiming"] == pytest.approx(math.sqrt(2), rel=0.03)


@pytest.mark.parametrize("kind", [LearnedGate.Config, LearnedScalarGate.Config])
@pytest.mark.parametrize("entropy", [-0.1, math.inf, math.nan])
def test_entropy__out_of_range__is_refused(kind, entropy):
    with pytest.raises(OptionError, match="entropy >= 0"):
        kind(entropy=entropy)


def test_options__of_every_gate__are_its_own():
    own = {name: set(vars(find_member(GateConfig, name)())) for name in list_members(GateConfig)}
    assert own == {
        "dwa": {"temperature"},
        "frozen": {"form", "init"},
        "gcs": {"weighted"},
        "gradnorm": {"alpha", "lr", "where"},
        "hypergradient": {
            "network",
            "monotone",
            "every",
            "terms",
            "scale",
            "released_factor",
            "split",
            "ratio",
            "rule",
            "lr",
            "momentum",
            "weight_decay",
            "clip",
        },
        "learned": {"form", "init", "normalise_losses", "entropy"},
        "learned_scalar": {"normalise_losses", "entropy"},
        "torchjd": {"aggregator", "gradients"},
        "uncertainty": set(),
        "uniform": set(),
    }


def test_name__unknown__names_the_nearest(build):
    with pytest.raises(ConfigError, match="did you mean learned"):
        build(name="leanred")


@pytest.mark.parametrize("name", ["learned", "learned_scalar"])
def test_build__one_task__leaves_nothing_to_learn(build, name):
    with pytest.raises(ConfigError, match="two tasks or more"):
        build(name=name, num_outputs=(16,))
