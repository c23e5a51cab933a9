"""What can be proved of gathering several representations, on small tables of probabilities."""

import itertools

import numpy as np
import pytest

from .information import entropy, information, lowest_error, marginal

SEEDS = range(40)


def draw_table(seed, shape=(3, 2, 3, 2)):
    """A joint table of Y and three representations; some cells are empty."""
    draws = np.random.default_rng(seed)
    table = draws.dirichlet(np.full(np.prod(shape), 0.2)).reshape(shape)
    return table / table.sum()


def test_information__of_known_tables__is_what_it_is():
    both = np.array([[0.5, 0.0], [0.0, 0.5]])
    assert information(both, (0,), (1,)) == pytest.approx(1)
    assert information(np.full((2, 2), 0.25), (0,), (1,)) == pytest.approx(0)
    erased = np.array([[0.4, 0.0, 0.1], [0.0, 0.4, 0.1]])  # an erasure channel lets 0.8 of the bit through
    assert information(erased, (0,), (1,)) == pytest.approx(0.8)
    assert lowest_error(erased, 0, (1,)) == pytest.approx(0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_gathering__any_table__never_loses_and_gains_what_is_complementary(seed):
    table = draw_table(seed)
    whole = information(table, (0,), (1, 2, 3))
    for one in (1, 2, 3):
        rest = tuple(each for each in (1, 2, 3) if each != one)
        own = information(table, (0,), (one,))
        assert whole == pytest.approx(own + information(table, (0,), rest, given=(one,)))  # the chain rule
        assert whole >= own - 1e-12


def test_gathering__a_function_of_another_representation__adds_nothing():
    table = draw_table(0)
    widened = np.zeros((*table.shape, 2))
    for cell in itertools.product(*map(range, table.shape)):
        widened[(*cell, cell[2] % 2)] = table[cell]
    assert information(widened, (0,), (4,), given=(1, 2, 3)) == pytest.approx(0, abs=1e-12)
    assert information(widened, (0,), (1, 2, 3, 4)) == pytest.approx(information(table, (0,), (1, 2, 3)))


def test_gathering__parity_of_two_bits__neither_says_anything_and_both_say_all():
    table = np.zeros((2, 2, 2))
    for one, other in itertools.product(range(2), range(2)):
        table[one ^ other, one, other] = 0.25
    assert information(table, (0,), (1,)) == pytest.approx(0)
    assert information(table, (0,), (2,)) == pytest.approx(0)
    assert information(table, (0,), (1, 2)) == pytest.approx(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_squeezing__by_any_function_of_all__says_no_more_and_selections_no_less_than_the_best_single(seed):
    table = draw_table(seed)
    whole = information(table, (0,), (1, 2, 3))
    draws = np.random.default_rng([seed, 1])
    for _ in range(5):
        squeezed = np.zeros((table.shape[0], 3))
        for cell in itertools.product(*map(range, table.shape[1:])):
            squeezed[:, draws.integers(3)] += table[(slice(None), *cell)]
        assert information(squeezed, (0,), (1,)) <= whole + 1e-12
    selections = [marginal(table, {0, one}) for one in (1, 2, 3)]
    best = max(information(each, (0,), (1,)) for each in selections)
    assert best == pytest.approx(max(information(table, (0,), (one,)) for one in (1, 2, 3)))


@pytest.mark.parametrize("seed", SEEDS)
def test_error__of_the_best_guess__lies_between_the_bounds_of_fano_and_of_hellman_and_raviv(seed):
    table = draw_table(seed)
    for seen in ((1,), (2,), (1, 2), (1, 2, 3)):
        left = entropy(marginal(table, {0})) - information(table, (0,), seen)  # H(Y | seen)
        error = lowest_error(table, 0, seen)
        assert error <= left / 2 + 1e-12
        binary = entropy(np.array([error, 1 - error]))
        assert left <= binary + error * np.log2(table.shape[0] - 1) + 1e-12


def test_error__less_entropy_left__does_not_order_the_errors_of_two_representations():
    """The first one tells one value from the two others for sure; the second one is right four times in five."""
    prior = np.array([0.5, 0.25, 0.25])
    first = np.array([[0.5, 0.0], [0.0, 0.25], [0.0, 0.25]])
    second = prior[:, None] * (0.7 * np.eye(3) + 0.1)
    left = [entropy(each) - entropy(marginal(each, {1})) for each in (first, second)]
    assert left[0] == pytest.approx(0.5)
    assert left[1] > 0.8
    assert [lowest_error(each, 0, (1,)) for each in (first, second)] == pytest.approx([0.25, 0.2])
