"""How good labels of pixels are for contrast, judged on a few images with masks and without training anything."""

from auxo.evaluation.label_quality.agreement import Agreement, measure_agreement
from auxo.evaluation.label_quality.judging import (
    JudgedImages,
    JudgedSets,
    choose_judged,
    find_same_images,
    judge_labeller,
)
from auxo.evaluation.label_quality.pairs import (
    ImagePairs,
    PairCounts,
    PixelPairs,
    count_image_pairs,
    count_pairs,
)
from auxo.evaluation.label_quality.quality import DrawingRule, LabelQuality, build_quality_table, judge_labels
from auxo.evaluation.label_quality.sampled import SampledPairs, count_sampled_pairs
from auxo.evaluation.label_quality.tables import LabelTable, count_labels

__all__ = [
    "Agreement",
    "DrawingRule",
    "ImagePairs",
    "JudgedImages",
    "JudgedSets",
    "LabelQuality",
    "LabelTable",
    "PairCounts",
    "PixelPairs",
    "SampledPairs",
    "build_quality_table",
    "choose_judged",
    "count_image_pairs",
    "count_labels",
    "count_pairs",
    "count_sampled_pairs",
    "find_same_images",
    "judge_labeller",
    "judge_labels",
    "measure_agreement",
]
