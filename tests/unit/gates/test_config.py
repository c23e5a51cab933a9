"""GateConfig: what it builds, from which random numbers, and what it refuses."""

import math

import pytest
import torch

from auxo.errors import ConfigError
from auxo.gates import GateConfig
from auxo.registry import entries


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
        gate = GateConfig(name="frozen", init=init).build(num_features=4096, num_outputs=(2, 6), seed=0)
        spread[init] = gate.layer.weight.std().item() * math.sqrt(4096)
    assert spread["default"] == pytest.approx(1 / math.sqrt(3), rel=0.03)
    assert spread["kaiming"] == pytest.approx(math.sqrt(2), rel=0.03)


@pytest.mark.parametrize("entropy", [-0.1, math.inf, math.nan])
def test_entropy__out_of_range__is_refused(entropy):
    with pytest.raises(ConfigError, match=r"gate\.entropy >= 0"):
        GateConfig(entropy=entropy)


READERS = {
    "form": ("per_sample", {"learned", "frozen"}),
    "init": ("kaiming", {"learned", "frozen"}),
    "normalise_losses": (False, {"learned", "learned_scalar"}),
    "entropy": (0.5, {"learned", "learned_scalar"}),
    "aggregator": ("mgda", {"torchjd"}),
}


@pytest.mark.parametrize("option", READERS)
def test_option__gate_that_does_not_read_it__is_refused(option):
    value, readers = READERS[option]
    for name in entries("gates"):
        if name in readers:
            assert getattr(GateConfig(name=name, **{option: value}), option) == value
        else:
            with pytest.raises(
                ConfigError, match=rf"gate\.{option.replace('_', '-')} with gate\.name .* {name}, which"
            ):
                GateConfig(name=name, **{option: value})


def test_option__every_gate_at_the_defaults__is_taken():
    assert [GateConfig(name=name).name for name in entries("gates")] == [*entries("gates")]


def test_name__unknown__names_the_nearest(build):
    with pytest.raises(ConfigError, match="did you mean learned"):
        build(name="leanred")


@pytest.mark.parametrize("name", ["learned", "learned_scalar"])
def test_build__one_task__leaves_nothing_to_learn(build, name):
    with pytest.raises(ConfigError, match="two tasks or more"):
        build(name=name, num_outputs=(16,))
