"""Fitting on validation images and asking about unseen ones, with a small untrained network."""

import json
from dataclasses import dataclass

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError, DataError
from auxo.estimation import (
    ESTIMATORS,
    EstimationConfig,
    build_estimate_table,
    estimate_records,
    fit_estimation,
    read_source_indicators,
)
from auxo.evaluation import Reader
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification, Target
from auxo.types import Column

SHAPES = oriented_shapes(60, size=28, seed=0)
CONFIG = EstimationConfig(sets=40, images=40, resamples=100)
NAMES = [estimator.name for estimator in ESTIMATORS]


def fitted(config, *, runtime, seed=0, count=60, options=CONFIG):
    task = Classification(SHAPES.vocabulary["label"], *SHAPES.image_shape)
    method = config.build(Networks(BackboneConfig(name="lenet5"), task, seed=0))
    pipeline = InputPipeline.from_source(SHAPES)
    validation = ValSplit(SHAPES.subset(torch.arange(count), "validation"))
    reader = Reader(method=method, pipeline=pipeline, runtime=runtime, batch_size=16)
    estimation = fit_estimation(reader, validation, seed=seed, config=options)
    unseen = oriented_shapes(30, size=28, seed=1)
    return estimation, read_source_indicators(reader, unseen)


@pytest.fixture(scope="module")
def runtime():
    with open_runtime(RuntimeConfig(device="cpu", threads=1)) as opened:
        yield opened


@pytest.fixture(scope="module")
def ossl(runtime):
    return fitted(OSSL.Config(), runtime=runtime)


def test_fit_estimation__equal_seeds__equal_numbers(ossl, runtime):
    estimation, scores = ossl
    again, scores_again = fitted(OSSL.Config(), runtime=runtime)
    assert again.table.measured.tolist() == estimation.table.measured.tolist()
    assert again.estimate(scores_again, name="x") == estimation.estimate(scores, name="x")
    other, _ = fitted(OSSL.Config(), runtime=runtime, seed=1)
    assert other.sets != estimation.sets


@dataclass(frozen=True)
class ByKind(Classification):
    """Classes that the column ``kind`` tells."""

    @property
    def targets(self):
        return (Target("kind", self.class_names),)


def test_fit_estimation__classes_of_another_column__are_judged_by_that_column(runtime):
    task = ByKind(SHAPES.vocabulary["label"], *SHAPES.image_shape)
    method = Supervised.Config().build(Networks(BackboneConfig(), task, seed=0))
    reader = Reader(method=method, pipeline=InputPipeline.from_source(SHAPES), runtime=runtime, batch_size=16)
    with torch.no_grad():  # every answer is the first class, as the column that is not asked for says of every image
        method.semantic.bias[0] += 100
    first = Column(torch.zeros(len(SHAPES), dtype=torch.int64), SHAPES.vocabulary["label"])
    kinds = {"kind": SHAPES.columns["label"], "label": first}
    found = fit_estimation(reader, ValSplit(SHAPES.with_columns(kinds)), seed=0, config=CONFIG)
    method.task = Classification(SHAPES.vocabulary["label"], *SHAPES.image_shape)
    expected = fit_estimation(reader, ValSplit(SHAPES), seed=0, config=CONFIG)
    assert found.table.measured.tolist() == expected.table.measured.tolist()
    assert max(found.table.measured) < 100


def test_fit_estimation__no_head_that_predicts__is_refused(runtime):
    class Headless(Supervised):
        head_names = ()

    task = Classification(SHAPES.vocabulary["label"], *SHAPES.image_shape)
    method = Headless(Supervised.Config(), Networks(BackboneConfig(), task, seed=0))
    reader = Reader(method=method, pipeline=InputPipeline.from_source(SHAPES), runtime=runtime, batch_size=16)
    with pytest.raises(ConfigError, match="a method with a head that predicts, got Headless"):
        fit_estimation(reader, ValSplit(SHAPES), seed=0, config=CONFIG)


def test_estimate__every_estimator__answers_or_says_why(ossl):
    estimation, scores = ossl
    rows = estimation.estimate(scores, name="unseen")
    assert [row.estimator for row in rows] == NAMES
    assert {row.n for row in rows} == {30}
    for row in rows:
        assert (row.value is None) == (row.refused is not None)
        if row.value is not None:
            assert 0 <= row.low <= row.high <= 100
            assert 0 <= row.value <= 100
    (mean,) = [row.value for row in rows if row.estimator == "confidence"]
    assert mean == pytest.approx(100 * scores.confidence.mean())


def test_estimate__default__is_the_usable_one_with_the_smallest_error(ossl):
    estimation, scores = ossl
    rows = estimation.estimate(scores, name="unseen")
    (default,) = [row.estimator for row in rows if row.is_default]
    usable = [row.estimator for row in rows if row.refused is None]
    assert default == min(usable, key=lambda name: estimation.fitted[name].error)


def test_fit_estimation__supervised__refuses_what_needs_other_heads(runtime):
    estimation, scores = fitted(Supervised.Config(), runtime=runtime)
    assert {*estimation.unavailable} == {"rotation", "agreement", "combined_rotation", "cot"}
    rows = {row.estimator: row for row in estimation.estimate(scores, name="unseen")}
    assert "quarter turns" in rows["rotation"].refused
    assert "second class head" in rows["agreement"].refused
    assert rows["confidence"].value is not None


def test_fit_estimation__corruptions__are_seventy_five_sets_more(runtime):
    options = EstimationConfig(sets=40, images=20, resamples=100, corruptions=True)
    estimation, _ = fitted(Supervised.Config(), runtime=runtime, options=options)
    assert len(estimation.sets) == len(estimation.table.measured) == 115
    assert "blur" in estimation.fitted["confidence"].errors


def test_fit_estimation__few_images__data_error(runtime):
    with pytest.raises(DataError, match="at least 5 validation images"):
        fitted(Supervised.Config(), runtime=runtime, count=4)


def test_report__two_sets__one_column_each_and_rows_of_json(ossl):
    estimation, scores = ossl
    estimates = [estimation.estimate(scores, name=name) for name in ("one", "two")]
    table = build_estimate_table(estimation, estimates)
    assert table.columns == ("estimator", "error", "one (30)", "two (30)")
    assert [line[0] for line in table.lines] == NAMES
    assert sum(line[2].endswith("*") for line in table.lines) == 1
    rows = [json.loads(json.dumps(row)) for row in estimate_records(estimation, estimates, run="r", heads=("s", "a"))]
    kinds = [row["kind"] for row in rows]
    assert kinds.count("settings") == 1
    assert kinds.count("set") == 40
    assert kinds.count("estimate") == 2 * len(NAMES)
    assert rows[0]["head"] == "s"
    assert rows[1]["steps"] == []
    assert rows[0]["measure"] == "accuracy"
    assert rows[1]["value"] == rows[0]["value"]
