"""Streams of random numbers follow from seed and name, and from nothing else."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxo.random import Draws, derive_seed, global_seed, named_generator, permute_within

names = st.lists(st.text("abc_", min_size=1, max_size=4) | st.integers(0, 99), max_size=3).map(tuple)


def test_derive_seed__known_names__are_what_they_always_were():
    assert derive_seed(0) == 3456079177858693020
    assert derive_seed(7, "epoch", 3) == 4743521694803824384


@given(seed=st.integers(), path=names)
def test_derive_seed__anything__has_63_bits_and_repeats(seed, path):
    assert 0 <= derive_seed(seed, *path) < 2**63
    assert derive_seed(seed, *path) == derive_seed(seed, *path)


@given(first=st.tuples(st.integers(), names), second=st.tuples(st.integers(), names))
def test_derive_seed__different_paths__differ(first, second):
    if first != second:
        assert derive_seed(first[0], *first[1]) != derive_seed(second[0], *second[1])


def test_named_generator__same_name__gives_the_same_numbers_and_leaves_the_global_ones():
    state = torch.random.get_rng_state()
    numbers = [torch.rand(5, generator=named_generator(3, "x", 1)) for _ in range(2)]
    assert torch.equal(*numbers)
    assert not torch.equal(numbers[0], torch.rand(5, generator=named_generator(3, "x", 2)))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_global_seed__block__repeats_and_puts_the_generator_back():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    drawn = []
    for _ in range(2):
        with global_seed(11):
            outer = torch.rand(2)
            with global_seed(12):
                inner = torch.rand(2)
            drawn.append(torch.cat([outer, inner, torch.rand(2)]))
    assert torch.equal(*drawn)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_global_seed__error_inside__puts_the_generator_back():
    state = torch.random.get_rng_state()
    with pytest.raises(RuntimeError, match="size"), global_seed(1):
        torch.rand(3) + torch.rand(4)
    assert torch.equal(torch.random.get_rng_state(), state)


@given(total=st.integers(1, 40), num_processes=st.integers(1, 5), high=st.integers(1, 9))
def test_draws__shared_among_processes__are_the_parts_of_the_whole(total, num_processes, high):
    whole = Draws(named_generator(0, "x"))
    expected = [whole.integers(high, total), whole.integers(high, total)]
    parts = torch.arange(total).tensor_split(num_processes)
    for call in range(2):
        joined = []
        for part in parts:
            first = int(part[0]) if len(part) else 0
            draws = Draws(named_generator(0, "x"), first=first, total=total)
            joined.append([draws.integers(high, len(part)) for _ in range(2)][call])
        assert torch.equal(torch.cat(joined), expected[call])
    assert expected[0].dtype == torch.int64
    assert int(expected[0].min()) >= 0
    assert int(expected[0].max()) < high


@given(total=st.integers(1, 40), num_processes=st.integers(1, 5))
def test_draws__uniform_shared_among_processes__are_the_parts_of_the_whole(total, num_processes):
    expected = Draws(named_generator(0, "x")).uniform(total)
    assert expected.dtype == torch.float64
    assert float(expected.min()) >= 0
    assert float(expected.max()) < 1
    for part in torch.arange(total).tensor_split(num_processes):
        first = int(part[0]) if len(part) else 0
        draws = Draws(named_generator(0, "x"), first=first, total=total)
        assert torch.equal(draws.uniform(len(part)), expected[part])


def test_draws__many_uniform__have_the_moments_of_the_unit_interval():
    numbers = Draws(named_generator(0, "uniform")).uniform(40_000)
    assert abs(float(numbers.mean()) - 0.5) < 0.01
    assert abs(float(numbers.var()) - 1 / 12) < 0.002


def test_draws__many__are_uniform():
    counts = Draws(named_generator(0, "uniform")).integers(4, 40_000).bincount(minlength=4)
    assert (counts - 10_000).abs().max() < 500


@given(total=st.integers(2, 40), num_processes=st.integers(1, 5))
def test_draws__partners_shared_among_processes__each_once_none_its_own(total, num_processes):
    whole = Draws(named_generator(0, "x")).partners(total)
    assert whole.sort().values.tolist() == list(range(total))
    assert not (whole == torch.arange(total)).any()
    parts = []
    for part in torch.arange(total).tensor_split(num_processes):
        first = int(part[0]) if len(part) else 0
        parts.append(Draws(named_generator(0, "x"), first=first, total=total).partners(len(part)))
    assert torch.equal(torch.cat(parts), whole)


def test_draws__many_partners__every_other_image_as_often():
    generator = named_generator(0, "pairs")
    counts = torch.stack([Draws(generator).partners(4) for _ in range(9000)])[:, 0].bincount(minlength=4)
    assert counts[0] == 0
    assert (counts[1:] - 3000).abs().max() < 200


def test_permute_within__any_draw__keeps_strata_and_moves_images_evenly():
    strata = torch.tensor([0, 2, 0, 2, 0])
    drawn = torch.cat([*permute_within(strata, draws=600, generator=named_generator(0, "orders"))])
    assert drawn.shape == (600, 5)
    assert (drawn.sort(1).values == torch.arange(5)).all()
    assert (strata[drawn] == strata).all()
    _, counts = drawn.unique(dim=0, return_counts=True)
    assert len(counts) == 12  # 3! by 2!
    assert int(counts.min()) >= 25  # 50 expected, by a binomial law with the deviation 6.8
