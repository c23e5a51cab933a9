"""The measure to expect on unlabelled images, from transformed copies of labelled ones."""

from auxo.estimation.config import FEW_IMAGES, LEAST_IMAGES, EstimationConfig
from auxo.estimation.estimate import Estimate, Estimation, fit_estimation, read_source_indicators
from auxo.estimation.estimators import ESTIMATORS, Estimator, FittedEstimator, MetaTable, fit_estimator
from auxo.estimation.indicators import FEATURES, Indicators, Thresholds, fit_thresholds, read_indicators
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
    "Estimate",
    "Estimation",
    "EstimationConfig",
    "Estimator",
    "FeatureRegression",
    "FittedEstimator",
    "Indicators",
    "MetaSet",
    "MetaTable",
    "Step",
    "Thresholds",
    "build_estimate_table",
    "corrupted_sets",
    "draw_meta_sets",
    "estimate_records",
    "fit_estimation",
    "fit_estimator",
    "fit_regression",
    "fit_thresholds",
    "read_indicators",
    "read_source_indicators",
    "render",
    "rmse",
    "transport_confidence",
]
