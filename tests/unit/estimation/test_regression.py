"""Accuracy estimation: lines recovered, outliers resisted, and the errors of the published table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.linear_model import HuberRegressor

from auxo.errors import DataError, ShapeError
from auxo.estimation.regression import FeatureRegression, fit_regression, fit_resampled, rmse

# Deng et al., ICML 2021, Table 1: true accuracies, then (estimates, RMSE) of each rule, in percent.
DIGITS = (23.06, 65.52)
CIFAR = (88.15,)
COCO = (92.61, 86.43, 87.83)
TABLE = [
    (DIGITS, (33.64, 44.34), 16.74),
    (DIGITS, (22.07, 30.39), 24.85),
    (DIGITS, (26.63, 33.23), 22.97),
    (DIGITS, (40.35, 46.87), 17.98),
    (DIGITS, (24.84, 53.10), 8.87),
    (CIFAR, (91.15,), 3.00),
    (CIFAR, (86.85,), 1.30),
    (CIFAR, (89.20,), 1.05),
    (CIFAR, (93.80,), 5.65),
    (CIFAR, (91.89,), 3.74),
    (COCO, (89.36, 83.98, 85.17), 2.81),
    (COCO, (84.30, 78.00, 79.83), 8.25),
    (COCO, (86.80, 80.14, 82.50), 5.82),
    (COCO, (92.49, 86.21, 88.50), 0.41),
    (COCO, (90.70, 89.29, 90.98), 2.68),
]


def spread_out(low=40.0, high=90.0, count=60):
    return np.linspace(low, high, count)


@pytest.mark.parametrize(("truths", "estimates", "published"), TABLE)
def test_rmse__published_table__reproduces_its_columns(truths, estimates, published):
    assert rmse(estimates, truths) == pytest.approx(published, abs=0.02)


@pytest.mark.parametrize("robust", [True, False])
@given(slope=st.floats(-0.9, 0.9), level=st.floats(48.0, 52.0))
def test_fit_regression__exact_line__is_recovered(robust, slope, level):
    rotation = spread_out()
    line = fit_regression(rotation, slope * (rotation - 65.0) + level, robust=robust)
    assert line.slopes[0] == pytest.approx(slope, abs=1e-4)
    assert line.predict([65.0])[0] == pytest.approx(level, abs=1e-3)


def with_outliers():
    """A line of slope 1.2 with a little noise, and 5 % of the sets at zero where the line is highest."""
    generator = np.random.default_rng(0)
    rotation = spread_out(count=100)
    classes = 1.2 * rotation - 20.0 + generator.normal(0.0, 0.3, 100)
    classes[-5:] = 0.0
    return rotation, classes


def test_fit_regression__five_percent_outliers__huber_stays_near_the_line():
    robust = fit_regression(*with_outliers())
    plain = fit_regression(*with_outliers(), robust=False)
    assert robust.slopes[0] == pytest.approx(1.2, abs=0.02)
    assert robust.predict([70.0])[0] == pytest.approx(64.0, abs=0.5)
    assert abs(plain.slopes[0] - 1.2) > 0.2


def test_fit_regression__not_robust__equals_least_squares_in_closed_form():
    rotation, classes = with_outliers()
    slope, intercept = np.polyfit(rotation, classes, 1)
    line = fit_regression(rotation, classes, robust=False)
    assert (line.slopes[0], line.intercept) == pytest.approx((slope, intercept), rel=1e-9)


def test_fit_regression__robust__is_at_the_minimum_of_hubers_concomitant_loss():
    """Sum of scale + scale * H(residual / scale), by scanning the line around the fit with the best scale of each."""
    rotation, classes = with_outliers()
    fitted = fit_regression(rotation, classes)
    scales = np.geomspace(0.01, 20.0, 2000)[:, None]

    def loss(slope, intercept):
        residuals = np.abs(classes - slope * rotation - intercept)[None, :] / scales
        huber = np.where(residuals < 1.35, residuals**2, 2 * 1.35 * residuals - 1.35**2)
        return (scales[:, 0] * (len(classes) + huber.sum(axis=1))).min()

    best = loss(fitted.slopes[0], fitted.intercept)
    for slope, intercept in [(0.02, 0.0), (-0.02, 0.0), (0.0, 1.0), (0.0, -1.0), (0.02, -1.3), (-0.02, 1.3)]:
        assert loss(fitted.slopes[0] + slope, fitted.intercept + intercept) > best


def test_fit_regression__constant_class_accuracy__flat_line():
    line = fit_regression([50.0, 60.0, 70.0], [80.0, 80.0, 80.0])
    assert (line.slopes[0], line.intercept) == pytest.approx((0.0, 80.0), abs=1e-6)


def test_predict__beyond_the_range__is_clipped():
    line = FeatureRegression(slopes=(2.0,), intercept=-60.0)
    assert line.predict(np.array([10.0, 50.0, 99.0])).tolist() == [0.0, 40.0, 100.0]


@pytest.mark.parametrize(
    ("rotation", "classes", "message"),
    [
        ([50.0, 60.0], [50.0], "2 and 1"),
        ([50.0, 160.0], [50.0, 60.0], "160.0"),
        ([50.0, 60.0], [50.0, float("nan")], "measured"),
        (np.zeros((2, 1, 1)), [50.0, 60.0], "shape (2, 1, 1)"),
        (np.array([[50.0, 60.0]]), [50.0, 60.0], "1 and 2"),
        ([], [], "shape (0,)"),
    ],
)
def test_fit_regression__unusable_numbers__shape_error(rotation, classes, message):
    with pytest.raises(ShapeError) as error:
        fit_regression(rotation, classes)
    assert message in str(error.value)


@pytest.mark.parametrize("seed", range(5))
def test_fit_regression__noise_with_outliers__equals_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    features = generator.uniform(20.0, 95.0, (80, 2))
    classes = np.clip(10.0 + features @ [0.5, 0.3] + 3.0 * generator.standard_t(2.0, 80), 0.0, 100.0)
    line = fit_regression(features, classes)
    units = (features - features.mean(0)) / features.std(0)
    theirs = HuberRegressor(epsilon=1.35, alpha=0.0, max_iter=1000, tol=1e-8).fit(units, classes / 10)
    expected = (theirs.predict(units) * 10).tolist()
    assert line.predict(features).tolist() == pytest.approx(np.clip(expected, 0.0, 100.0).tolist(), abs=1e-3)


def test_fit_resampled__counts_of_draws__equal_fits_to_the_drawn_sets():
    generator = np.random.default_rng(3)
    rotation = generator.uniform(30.0, 90.0, 40)
    classes = 0.9 * rotation + generator.normal(0.0, 2.0, 40)
    drawn = generator.integers(40, size=(3, 40))
    weights = np.stack([np.bincount(row, minlength=40) for row in drawn]).astype(float)
    lines = fit_resampled(rotation[:, None], classes, weights)
    for row, line in zip(drawn, lines, strict=True):
        alone = fit_regression(rotation[row], classes[row])
        assert (alone.slopes[0], alone.intercept) == pytest.approx((line[0], line[1]), rel=1e-6)


def test_fit_regression__probit_line__is_recovered_and_stays_in_range():
    quantiles = np.linspace(-1.5, 1.5, 30)
    line = fit_regression(100 * norm.cdf(quantiles), 100 * norm.cdf(0.8 * quantiles - 0.2), scale="probit")
    assert (line.slopes[0], line.intercept) == pytest.approx((0.8, -0.2), abs=1e-6)
    assert line.predict([0.0])[0] > 0
    assert line.predict([100.0])[0] < 100


def test_fit_regression__constant_second_feature__gets_no_slope():
    rotation = spread_out()
    line = fit_regression(np.column_stack([rotation, np.full(60, 70.0)]), 0.5 * rotation + 10.0)
    assert line.slopes == pytest.approx((0.5, 0.0), abs=1e-8)


def test_predict__other_number_of_features__shape_error():
    with pytest.raises(ShapeError, match="2 features"):
        FeatureRegression(slopes=(1.0, 1.0), intercept=0.0).predict([50.0])


def test_fit_regression__one_rotation_accuracy__data_error():
    with pytest.raises(DataError):
        fit_regression([70.0, 70.0], [60.0, 62.0])


def test_rmse__different_lengths__shape_error():
    with pytest.raises(ShapeError):
        rmse([50.0], [50.0, 60.0])
