"""What a model says of images: indicators computed by hand from a model whose answers are known."""

import numpy as np
import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.errors import ConfigError, NonFiniteError
from auxo.estimation import Indicators, Thresholds, fit_thresholds, read_indicators
from auxo.estimation.indicators import rotation_head, threshold_of
from auxo.evaluation import Reader
from auxo.interfaces import AbstractMethod, MethodConfig, PretextHead
from auxo.pretexts.lorot import LoRot
from auxo.pretexts.rotation import Rotation
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification


class ByBrightness(AbstractMethod):
    """Classes by the mean of the red channel, a second head that inverts it, and a head that always says upright."""

    def __init__(self, *, has_second=True, pretext=None):
        task = Classification(("dark", "bright"), channels=3, height=8, width=8)
        super().__init__(MethodConfig(), Networks(BackboneConfig(name="resnet8"), task, seed=0))
        self.has_second = has_second
        self.head_names = ("first", "second") if has_second else ("first",)
        self.pretext = pretext

    def optimizers(self):
        return {}

    def update(self, state, batches, runtime):
        return {}

    def head_logits(self, images):
        mean = images[:, 0].mean((1, 2))
        first = {"first": torch.stack([0 * mean, mean], dim=1)}
        return {**first, "second": torch.stack([mean, 0 * mean], dim=1)} if self.has_second else first

    def pretext_heads(self):
        def upright(images):
            return nn.functional.one_hot(torch.zeros(len(images), dtype=torch.long), self.pretext.num_outputs).float()

        return {} if self.pretext is None else {"rotation": PretextHead(self.pretext, upright)}


@pytest.fixture
def scores():
    """Measure images of one brightness each, -1, 0 (a tie) and 1 once normalised."""

    def of(method, targets=None):
        pipeline = InputPipeline(torch.full((3,), 0.5), torch.full((3,), 0.5), image_shape=(3, 8, 8))
        pictures = torch.stack([torch.full((3, 8, 8), value, dtype=torch.uint8) for value in (0, 102, 255)])
        with open_runtime(RuntimeConfig(device="cpu")) as runtime:
            reader = Reader(method=method, pipeline=pipeline, runtime=runtime, batch_size=2)
            return read_indicators(reader, pictures, name="three", targets=targets)

    return of


def test_read_indicators__known_logits__softmax_and_entropy_by_hand(scores):
    found = scores(ByBrightness())
    likely = 1 / (1 + np.exp(-1.0))
    middle = 1 / (1 + np.exp(-0.2))
    assert found.confidence.tolist() == pytest.approx([likely, middle, likely], abs=1e-6)
    entropies = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (likely, middle, likely)]
    assert found.negative_entropy.tolist() == pytest.approx([-value for value in entropies], abs=1e-6)
    assert len(found) == 3


def test_read_indicators__heads_that_differ__agreement_is_zero(scores):
    assert scores(ByBrightness()).agreement.tolist() == [0.0, 0.0, 0.0]
    assert scores(ByBrightness(has_second=False)).agreement is None


def test_read_indicators__head_that_always_says_upright__rotation_is_a_quarter(scores):
    assert scores(ByBrightness(pretext=Rotation())).rotation.tolist() == [0.25] * 3
    assert scores(ByBrightness()).rotation is None


def test_rotation_head__quadrants_only__is_none():
    assert rotation_head(ByBrightness(pretext=LoRot())) is None


def test_read_indicators__logits_that_are_nan__non_finite_error(scores):
    class Broken(ByBrightness):
        def head_logits(self, images):
            return {"first": images[:, :2, 0, 0] * float("nan")}

    with pytest.raises(NonFiniteError, match="three"):
        scores(Broken())


def test_read_indicators__training_mode__is_left_as_it_was(scores):
    method = ByBrightness().train()
    scores(method)
    assert method.training


def test_read_indicators__targets__give_the_measure_of_every_image(scores):
    assert scores(ByBrightness(), {"label": torch.tensor([0, 1, 1])}).values.tolist() == [1.0, 0.0, 1.0]
    assert scores(ByBrightness()).values is None
    with pytest.raises(ValueError, match="whose targets are known"):
        fit_thresholds(scores(ByBrightness()))


def test_read_indicators__measure_that_is_no_mean_over_images__is_refused(scores):
    class Ranked(Classification):
        def image_values(self, scores):
            return None

    method = ByBrightness()
    method.task = Ranked(("dark", "bright"), channels=3, height=8, width=8)
    with pytest.raises(ConfigError, match="measure is a mean over images, for estimation, got accuracy of Ranked"):
        scores(method, {"label": torch.tensor([0, 1, 1])})


def made(confidence, values=None):
    confidence = np.asarray(confidence)
    return Indicators(confidence, 2 * confidence - 3, values=None if values is None else np.asarray(values, float))


def test_thresholds__two_of_five_wrong__leave_the_two_smallest_scores_below():
    thresholds = fit_thresholds(made([0.9, 0.6, 0.8, 0.95, 0.7], values=[1, 0, 1, 1, 0]))
    assert thresholds == Thresholds(0.8, 2 * 0.8 - 3)
    unseen = made([0.79, 0.8, 0.99, 0.5]).features(thresholds)
    assert unseen["atc_confidence"].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert unseen["atc_entropy"].tolist() == [0.0, 1.0, 1.0, 0.0]


def test_thresholds__validation_itself__estimate_is_its_measure():
    generator = np.random.default_rng(0)
    validation = made(generator.uniform(0.5, 1.0, 200), values=generator.integers(2, size=200))
    thresholds = fit_thresholds(validation)
    assert validation.features(thresholds)["atc_confidence"].mean() == pytest.approx(validation.values.mean())


def test_threshold_of__nothing_right__nothing_reaches_it():
    assert threshold_of(np.array([0.3, 0.4]), 0) == float("inf")


def test_features__no_second_head_and_no_rotation__are_left_out():
    names = made([0.5]).features(Thresholds(0.5, 0.0))
    assert list(names) == ["confidence", "atc_confidence", "atc_entropy"]
