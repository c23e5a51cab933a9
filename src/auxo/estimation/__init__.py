"""The accuracy to expect on images without labels, from transformed copies of labelled ones."""

from auxo.estimation.config import FEW_IMAGES, LEAST_IMAGES, EstimationConfig
from auxo.estimation.estimate import Estimate, Estimation, fit_estimation, measure_source
from auxo.estimation.estimators import ESTIMATORS, Estimator, FittedEstimator, MetaTable, fit_estimator
from auxo.estimation.meta_sets import FAMILIES, MetaSet, Step, corrupted_sets, draw_meta_sets, render
from auxo.estimation.regression import AccuracyRegression, fit_regression, rmse
from auxo.estimation.report import build_estimate_table, estimate_records
from auxo.estimation.scores import FEATURES, Scores, Thresholds, fit_thresholds, measure

__all__ = [
    "ESTIMATORS",
    "FAMILIES",
    "FEATURES",
    "FEW_IMAGES",
    "LEAST_IMAGES",
    "AccuracyRegression",
    "Estimate",
    "Estimation",
    "EstimationConfig",
    "Estimator",
    "FittedEstimator",
    "MetaSet",
    "MetaTable",
    "Scores",
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
    "measure",
    "measure_source",
    "render",
    "rmse",
]
