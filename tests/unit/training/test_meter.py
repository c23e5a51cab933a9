"""Means of losses, and the first one that is no number."""

import pytest
import torch

from auxo.errors import ConfigError, NonFiniteError
from auxo.runtime import Runtime, RuntimeConfig
from auxo.training.meter import Meter


@pytest.fixture
def meter():
    runtime = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
    return Meter(runtime, first_step=11)


def add(meter, *steps):
    for values in steps:
        meter.add({name: torch.tensor(value) for name, value in values.items()})


def test_flush__some_steps__gives_their_means_and_forgets_them(meter):
    add(meter, {"a_loss": 1.0, "gap": -2.0}, {"a_loss": 3.0, "gap": 0.0})
    assert meter.flush(last_good="") == {"a_loss": 2.0, "gap": -1.0}
    assert meter.flush(last_good="") == {}
    add(meter, {"a_loss": 7.0, "gap": 1.0})
    assert meter.flush(last_good="") == {"a_loss": 7.0, "gap": 1.0}


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "nan"), (float("inf"), "inf"), (float("-inf"), "-inf")])
def test_flush__losses_that_are_not_finite__names_the_first_step_and_term(meter, value, word):
    good = {"a_loss": 1.0, "b_loss": 1.0}
    add(meter, good, good)
    meter.flush(last_good="")
    add(meter, good, {"a_loss": 1.0, "b_loss": value}, {"a_loss": value, "b_loss": 1.0})
    expected = f"expected a finite b_loss, got {word} at step 14: lower the learning rate; go back to x"
    with pytest.raises(NonFiniteError, match=f"^{expected}$"):
        meter.flush(last_good="go back to x")


def test_flush__two_terms_at_once__names_the_one_computed_first(meter):
    add(meter, {"classification_loss": float("inf"), "auxiliary_loss": float("nan")})
    with pytest.raises(NonFiniteError, match="a finite classification_loss, got inf at step 11"):
        meter.flush(last_good="")


@pytest.mark.parametrize(
    ("value", "got"), [(1.0, "float"), (torch.ones(2), r"shape \(2,\)"), (torch.ones(1), r"shape \(1,\)")]
)
def test_add__metric_that_is_no_scalar_tensor__is_refused(meter, value, got):
    add(meter, {"a_loss": 1.0})
    with pytest.raises(ConfigError, match=f"a scalar tensor for 'gap' from update, got {got} at step 12"):
        meter.add({"a_loss": torch.tensor(1.0), "gap": value})


@pytest.mark.parametrize(
    ("names", "got"), [(("a_loss", "late_loss"), "'late_loss' new at step 13"), ((), "'a_loss' missing at step 13")]
)
def test_add__names_that_change__are_refused_also_after_a_flush(meter, names, got):
    add(meter, {"a_loss": 1.0}, {"a_loss": 1.0})
    meter.flush(last_good="")
    with pytest.raises(ConfigError, match=f"the same metrics from every update, got {got}"):
        add(meter, dict.fromkeys(names, 1.0))


def test_flush__no_metrics_at_all__gives_none(meter):
    add(meter, {}, {})
    assert meter.flush(last_good="") == {}


def test_flush__number_that_is_no_loss__may_be_anything(meter):
    add(meter, {"a_loss": 1.0, "residual": float("nan")})
    means = meter.flush(last_good="")
    assert means["a_loss"] == 1.0
    assert means["residual"] != means["residual"]


def test_flush__half_precision__is_averaged_in_float32(meter):
    for value in (1.0, 1.0078125):
        meter.add({"a_loss": torch.tensor(value, dtype=torch.bfloat16)})
    assert meter.flush(last_good="") == {"a_loss": 1.00390625}


def test_add__steps_of_two_kinds__are_averaged_over_those_that_have_the_metric(meter):
    for value in (1.0, 3.0):
        meter.add({"lower_loss": torch.tensor(value), "distance": torch.tensor(value)}, kind="lower")
    meter.add({"upper_loss": torch.tensor(5.0), "distance": torch.tensor(8.0)}, kind="upper")
    assert meter.flush(last_good="") == {"lower_loss": 2.0, "distance": 4.0, "upper_loss": 5.0}
    with pytest.raises(ConfigError, match="'lower_loss' new at step 14"):
        meter.add(
            {"upper_loss": torch.tensor(5.0), "distance": torch.tensor(8.0), "lower_loss": torch.tensor(0.0)},
            kind="upper",
        )


@pytest.mark.parametrize("metrics", [None, [], torch.zeros(())])
def test_add__update_that_returns_no_metrics__is_refused(meter, metrics):
    got = type(metrics).__name__
    with pytest.raises(ConfigError, match=f"metrics by name from update, got {got} at step 11: return a dict"):
        meter.add(metrics)
