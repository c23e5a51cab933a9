"""p-values: corrected as by hand and as the sequential procedure does, and of permutations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auxo.errors import ConfigError
from auxo.tasks import holm, permutation_p_value


def test_holm__worked_example__as_by_hand():
    # Sorted: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which must not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm__any_level__rejects_what_the_sequential_procedure_rejects(p_values, level):
    rejected = set()
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] * (len(p_values) - rank) > level:
            break
        rejected.add(int(place))
    assert {place for place, p in enumerate(holm(p_values)) if p <= level} == rejected


@pytest.mark.parametrize("p_values", [[0.1, 1.2], [-0.1], [float("nan")]])
def test_holm__no_probability__refused(p_values):
    with pytest.raises(ConfigError, match="p-values"):
        holm(p_values)


def test_permutation_p_value__ties_and_none_as_large__count_as_large_and_never_0():
    drawn = torch.tensor([0.1, 0.3, 0.1 + 0.2], dtype=torch.float64)
    assert permutation_p_value(0.3, drawn) == 0.75  # 0.1 + 0.2 is 0.3 but for rounding
    assert permutation_p_value(9.0, drawn) == 0.25
