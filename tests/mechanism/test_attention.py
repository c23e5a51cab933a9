"""Attention finds which encoder is to be believed, image by image; without its gradient it does not."""

import statistics

import pytest
from scipy import stats

from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.fusions.best_single import BestSingle
from auxo.pretexts.fusions.concatenation import Concatenation
from auxo.pretexts.fusions.mean import Mean

from .attention_world import NAMES, accuracy, attend, train

SEEDS = range(10)
RELU = {"relu": True}  # a linear head on linear projections could not tell which of two to read
ATTENTION = Attention.Config(**RELU)
CONCATENATION = Concatenation.Config(**RELU)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # half a minute each alone, but never a matter of load


def measure(fusion, **options):
    """Accuracies over the seeds, and where the fusion weighs, the mean weights on what is right and on noise."""
    accuracies, weights = [], []
    for seed in SEEDS:
        method, world = train(fusion, seed, **options)
        accuracies.append(accuracy(method, world))
        weights.append(attend(method, world) if method.fusion.weighs else (0.0, 0.0))
    return accuracies, [statistics.mean(column) for column in zip(*weights, strict=True)]


@pytest.fixture(scope="module")
def concatenated():
    return measure(CONCATENATION)[0]


@pytest.fixture(scope="module")
def attended():
    return measure(ATTENTION)


def lower_end(ours, theirs):
    """The lower end of the 95 % interval of a paired difference."""
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    return stats.ttest_1samp(differences, 0.0).confidence_interval(0.95).low


def test_world__told_which_encoder_to_believe__beats_the_control(concatenated):
    told, _ = measure(CONCATENATION, is_told=True)
    assert lower_end(told, concatenated) > 0


def test_attention__of_an_image__beats_concatenation_and_static_weights(attended, concatenated):
    static, _ = measure(Attention.Config(query="static", **RELU))
    single, _ = measure(BestSingle.Config(encoder=NAMES[0], **RELU))
    assert lower_end(attended[0], concatenated) > 0
    assert lower_end(attended[0], static) > 0
    assert lower_end(attended[0], single) > 0


def test_attention__weights__lie_on_the_informative_encoder_and_not_on_noise(attended):
    informative, noise = attended[1]
    assert informative > 0.5
    assert noise < 1 / 8


def test_attention__no_gradient_in_the_scores__has_equal_weights_and_does_not_pass(concatenated):
    broken, (_, noise) = measure(ATTENTION, is_broken=True)
    assert noise == pytest.approx(1 / 4)
    assert lower_end(broken, concatenated) <= 0
    assert broken == measure(Mean.Config(**RELU))[0]


def test_attention__labels_exchanged_at_random__guesses():
    shuffled, _ = measure(ATTENTION, is_shuffled=True)
    assert statistics.mean(shuffled) < 30
