"""The measure to expect on unlabelled images, from transformed copies of labelled ones."""

from auxo.estimation.config import FEW_IMAGES, LEAST_IMAGES, EstimationConfig
from auxo.estimation.estimate import Estimate, Estimation, fit_estimation, read_source_indicators
from auxo.estimation.estimators import ESTIMATORS, Estimator, FittedEstimator, MetaTable, fit_estimator
from auxo.estimation.indicators import FEATURES, Indicators, Thresholds, fit_thresholds, read_indicators
from auxo.estimation.labelled_sample import (
    Answered,
    LabelledSample,
    draw_order,
    exact_interval,
    judge_sample,
    read_labelled,
    sequential_interval,
)
from auxo.estimation.meta_sets import FAMILIES, MetaSet, Step, corrupted_sets, draw_meta_sets, render
from auxo.estimation.regression import FeatureRegression, fit_regression, rmse
from auxo.estimation.report import build_estimate_table, estimate_records
from auxo.estimation.transport import transport_confidence

__all__ = [
    "ESTIMATORS",
    "FAMILIES",
    "FEATURES",
    "FEW_IMAGES",
    "LEAST_IMAGES",
    "Answered",
    "Estimate",
    "Estimation",
    "EstimationConfig",
    "Estimator",
    "FeatureRegression",
    "FittedEstimator",
    "Indicators",
    "LabelledSample",
    "MetaSet",
    "MetaTable",
    "Step",
    "Thresholds",
    "build_estimate_table",
    "corrupted_sets",
    "draw_meta_sets",
    "draw_order",
    "estimate_records",
    "exact_interval",
    "fit_estimation",
    "fit_estimator",
    "fit_regression",
    "fit_thresholds",
    "judge_sample",
    "read_indicators",
    "read_labelled",
    "read_source_indicators",
    "render",
    "rmse",
    "sequential_interval",
    "transport_confidence",
]
