"""Estimators on made-up meta sets whose accuracy is known: lines, held-out kinds, intervals, refusals."""

import numpy as np
import pytest

from auxo.errors import DataError
from auxo.estimation import ESTIMATORS, Estimator, MetaTable, fit_estimator

BY_NAME = {estimator.name: estimator for estimator in ESTIMATORS}
KINDS = ("a", "b", "c", "d")


def table(generator, *, count=120, noise=3.0, shift=0.0, **features):
    """Sets whose rotation accuracy is the class accuracy, less 10, with noise; those of kind "d" lie ``shift`` off."""
    accuracy = generator.uniform(30.0, 90.0, count)
    accuracy[0] = 95.0
    families = [frozenset()] + [frozenset({KINDS[place % 4]}) for place in range(1, count)]
    is_odd = np.array(["d" in each for each in families])
    rotation = np.clip(accuracy - 10.0 + noise * generator.standard_normal(count) + shift * is_odd, 0, 100)
    return MetaTable({"rotation": rotation, **features}, accuracy, families)


def weights(generator, count, resamples=300):
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


def fitted(name="rotation", *, seed=0, **options):
    generator = np.random.default_rng(seed)
    made = table(generator, **options)
    return fit_estimator(BY_NAME[name], made, weights(generator, len(made.measured)))


def test_fit_estimator__line_without_noise__is_recovered_with_no_error():
    found = fitted(noise=0.0)
    assert found.estimate(np.array([[50.0], [70.0]])).tolist() == pytest.approx([60.0, 80.0], abs=1e-6)
    assert found.error == pytest.approx(0.0, abs=1e-6)


def test_fit_estimator__one_kind_that_lies_off__has_the_largest_held_out_error():
    found = fitted(noise=1.0, shift=15.0)
    assert found.errors["d"] == pytest.approx(15.0, abs=2.0)
    assert max(found.errors[kind] for kind in "abc") < 8.0
    assert found.error == pytest.approx(np.sqrt(np.mean(np.square(list(found.errors.values())))))
    assert len(found.held_out) == 119


def test_fit_estimator__difference_of_confidences__falls_from_validation_as_confidence_does():
    generator = np.random.default_rng(0)
    confidence = np.linspace(98.0, 40.0, 60)
    made = MetaTable({"confidence": confidence}, confidence - 6.0, [frozenset({"a"})] * 60)
    difference = fit_estimator(BY_NAME["doc"], made, weights(generator, 60))
    assert float(difference.estimate(np.array([[88.0]]))[0]) == pytest.approx(82.0)
    plain = fit_estimator(BY_NAME["confidence"], made, weights(generator, 60))
    assert float(plain.estimate(np.array([[88.0]]))[0]) == pytest.approx(88.0)
    assert plain.error == pytest.approx(6.0)


@pytest.mark.parametrize("name", ["rotation", "agreement", "combined_rotation"])
def test_fit_estimator__feature_that_the_method_lacks__data_error(name):
    generator = np.random.default_rng(0)
    made = MetaTable({"confidence": np.linspace(30.0, 90.0, 50)}, np.linspace(20.0, 90.0, 50), [frozenset({"a"})] * 50)
    with pytest.raises(DataError, match="train with ossl"):
        fit_estimator(BY_NAME[name], made, weights(generator, 50))


def test_fit_estimator__combined_without_a_second_head__does_without_agreement():
    generator = np.random.default_rng(0)
    unrelated = {name: generator.uniform(40.0, 99.0, 120) for name in ("confidence", "atc_entropy")}
    made = table(generator, **unrelated)
    found = fit_estimator(BY_NAME["combined_rotation"], made, weights(generator, 120))
    assert found.features == ("rotation", "confidence", "atc_entropy")
    assert found.line[:3].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=0.1)


def test_fit_estimator__constant_feature__data_error():
    made = MetaTable({"agreement": np.full(50, 99.0)}, np.linspace(20.0, 90.0, 50), [frozenset({"a"})] * 50)
    with pytest.raises(DataError, match="differs between the meta sets"):
        fit_estimator(BY_NAME["agreement"], made, np.ones((100, 50)))


def test_outside__beyond_the_meta_sets__is_refused_with_the_range():
    found = fitted(noise=0.0)
    assert found.outside(np.array([60.0]), np.array([0.5])) is None
    assert found.outside(np.array([85.3]), np.array([0.5])) is None  # within chance of 85
    reason = found.outside(np.array([99.7]), np.array([0.5]))
    assert "rotation 99.7 %" in reason
    assert "85.0 %" in reason
    assert found.outside(np.array([5.0]), np.array([0.5])) is not None


def test_outside__not_fitted__is_never_refused():
    generator = np.random.default_rng(0)
    made = MetaTable({"confidence": np.linspace(30.0, 90.0, 50)}, np.linspace(20.0, 90.0, 50), [frozenset({"a"})] * 50)
    plain = fit_estimator(BY_NAME["confidence"], made, weights(generator, 50))
    assert plain.outside(np.array([100.0]), np.array([0.0])) is None


def test_interval__sets_drawn_as_the_meta_sets_were__holds_the_truth_as_often_as_it_says():
    """Two hundred unseen sets of 400 images each, whose rotation accuracy follows the same line."""
    found = fitted(count=200, noise=3.0)
    generator = np.random.default_rng(7)
    hits = 0
    for _ in range(200):
        accuracy = generator.uniform(40.0, 80.0)
        expected = accuracy - 10.0 + 3.0 * generator.standard_normal()
        pictures = generator.random(400) < expected / 100
        shares = generator.binomial(400, pictures.mean(), size=300) / 4.0
        low, high = found.interval(shares[:, None], confidence=0.9, generator=generator)
        hits += low <= accuracy <= high
    assert 170 <= hits <= 199  # 180 expected; four standard deviations are 17


def test_interval__one_kind_off_its_line__is_wider():
    generator = np.random.default_rng(0)
    features = np.full((300, 1), 60.0)
    low, high = fitted(noise=1.0).interval(features, confidence=0.9, generator=generator)
    wide_low, wide_high = fitted(noise=1.0, shift=15.0).interval(features, confidence=0.9, generator=generator)
    assert wide_high - wide_low > 2 * (high - low)


def test_estimators__names__are_unique_and_regressions_alone_have_a_scale():
    assert len(BY_NAME) == len(ESTIMATORS)
    assert all(estimator.scale == "percent" for estimator in ESTIMATORS if estimator.kind != "regression")
    assert isinstance(ESTIMATORS[0], Estimator)
