"""What DTG-AuxL does in two planted worlds, and which part of it does that."""

import statistics
from dataclasses import replace

import pytest

from . import dtg_classes_between as between
from . import dtg_world as harm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # some minutes each alone, but never a matter of load
HARM_SEEDS, BETWEEN_SEEDS = range(10), range(4)


def measure_harm(line):
    """The mean accuracy of a line in the world whose given task does harm."""
    return statistics.mean(harm.accuracy(*harm.train(harm.LINES[line], seed)[:2]) for seed in HARM_SEEDS)


def measure_between(config, **options):
    """The mean accuracy in the world where an item between two others is of a class of its own."""
    return statistics.mean(between.accuracy(*between.train(config, seed, **options)) for seed in BETWEEN_SEEDS)


def test_harmful_task__a_generated_one_beside_it__undoes_harm_with_the_implicit_gradient_and_without():
    # No claim for the gradient: what helps is more weight on what follows from the classes.
    found = {line: measure_harm(line) for line in ("single", "equal", "DTG", "no implicit gradient")}
    assert found["equal"] < found["single"]
    assert found["DTG"] > found["equal"]
    assert found["no implicit gradient"] > found["equal"]


@pytest.fixture(scope="module")
def alone():
    return measure_between(between.LINES["alone"])


def test_classes_between__true_labels_of_mixtures__far_better_than_none(alone):
    assert measure_between(between.LINES["manifold mixup"], is_oracle=True) - alone >= 7


def test_classes_between__labels_learned_by_the_implicit_gradient__better_than_none_and_without_it_they_are_not(alone):
    assert measure_between(between.CONFIG) - alone >= 2.5
    assert measure_between(replace(between.CONFIG, scale=1e-12)) - alone < 2.5


def test_classes_between__held_out_labels_to_train_on__gain_no_less_than_a_generator_taught_by_them(alone):
    assert measure_between(between.LINES["alone"], splits=("train", "meta")) - alone >= 5
