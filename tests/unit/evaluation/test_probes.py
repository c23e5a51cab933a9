"""Probes of features: what they find in clusters and in noise, what they are fitted to, and whose features they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, OODSplit, Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.fake import SHAPES, oriented_shapes
from auxo.errors import ConfigError, DataError, NonFiniteError
from auxo.evaluation import (
    Reader,
    TargetedFeatures,
    evaluate_by_probes,
    evaluate_probes,
    fit_knn,
    fit_linear,
    fit_probes,
)
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, sum_answers
from auxo.types import Column

TASK = Classification(SHAPES, channels=3, height=28, width=28)
RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
WHOLE = oriented_shapes(140, size=28, seed=0)
PARTS = {"train": (0, 60), "val": (60, 90), "test": (90, 120), "elsewhere": (120, 140)}
TRAIN, VAL, TEST, ELSEWHERE = (WHOLE.subset(torch.arange(*part), name) for name, part in PARTS.items())
SPLITS = Splits(TrainSplit(TRAIN), ValSplit(VAL), TestSplit(TEST), ood=(OODSplit(ELSEWHERE),))
PIPELINE = InputPipeline.from_source(TRAIN)


@pytest.fixture
def method():
    return Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0))


def probed(method, splits=SPLITS, **options):
    return evaluate_by_probes(reader_of(method), splits, **options)


def reader_of(method):
    return Reader(method=method, pipeline=PIPELINE, runtime=RUNTIME, batch_size=16)


def clusters(count, *, seed, num_classes=3, spread=0.05, dim=6):
    """Points around one centre per class, far from each other."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    return TargetedFeatures(np.eye(num_classes, dim)[labels] + spread * generator.normal(size=(count, dim)), labels)


def accuracy_of(probe, of):
    sums = sum_answers(probe.scores(of))
    return sums.correct / sums.n


def accuracy(probe, of):
    return float((probe.logits(of.features).argmax(1) == of.answers).mean())


@pytest.mark.parametrize("num_classes", [2, 3])
def test_probes__separate_clusters__are_told_apart(num_classes):
    bank, val, test = (clusters(60, seed=seed, num_classes=num_classes) for seed in range(3))
    knn, linear = fit_knn(bank, num_classes), fit_linear(bank, val, num_classes)
    for probe in (knn, linear):
        assert accuracy_of(probe, test) == accuracy(probe, test) == 1
        assert probe.logits(test.features).shape == (60, num_classes)


def test_probes__shuffled_labels__are_told_by_chance():
    generator = np.random.default_rng(0)
    bank, val, test = (
        TargetedFeatures(generator.normal(size=(count, 5)), generator.permutation(np.arange(count) % 4))
        for count in (200, 100, 2000)
    )
    for probe in (fit_knn(bank, 4), fit_linear(bank, val, 4)):
        assert abs(accuracy_of(probe, test) - 0.25) < 0.04


@pytest.mark.parametrize("k", [1, 7, 30])
def test_knn__thirty_points__votes_as_computed_by_hand(k):
    generator = np.random.default_rng(1)
    bank = TargetedFeatures(generator.normal(size=(30, 4)), np.arange(30) % 3)
    queries = generator.normal(size=(12, 4)) * 7
    expected = []
    for query in queries:
        cosines = [np.dot(query, point) / np.linalg.norm(query) / np.linalg.norm(point) for point in bank.features]
        nearest = sorted(range(30), key=lambda place: -cosines[place])[:k]
        votes = np.zeros(3)
        for place in nearest:
            votes[bank.answers[place]] += np.exp(cosines[place] / 0.07)
        even = votes.sum() / k / 3
        expected.append((votes + even) / (votes.sum() + 3 * even))
    probe = fit_knn(bank, 3, neighbours=k)
    np.testing.assert_allclose(np.exp(probe.logits(queries)), expected, rtol=1e-9)
    assert probe.settings == {"bank": 30, "num_features": 4, "neighbours": k, "temperature": 0.07}


def test_knn__small_bank__takes_all_of_it_by_default_and_no_more():
    bank = clusters(12, seed=0)
    assert fit_knn(bank, 3).settings["neighbours"] == 12
    assert fit_knn(clusters(60, seed=0), 3).settings["neighbours"] == 20
    for number in (0, 13):
        with pytest.raises(ConfigError, match=rf"neighbours in 1\.\.12, the training images, got {number}"):
            fit_knn(bank, 3, neighbours=number)


def test_knn__features_of_other_lengths__have_the_same_neighbours():
    bank, test = clusters(60, seed=0, spread=0.6), clusters(40, seed=1, spread=0.6)
    scaled = bank._replace(features=bank.features * np.random.default_rng(2).uniform(1, 9, size=(60, 1)))
    np.testing.assert_allclose(fit_knn(bank, 3).logits(test.features), fit_knn(scaled, 3).logits(test.features))


def test_linear__strength__is_the_best_on_the_validation_images():
    bank, fresh = (clusters(60, seed=seed, spread=0.7, dim=30) for seed in range(2))
    weak, chosen = fit_linear(bank, bank, 3), fit_linear(bank, fresh, 3)
    assert weak.settings == {"bank": 60, "num_features": 30, "c": 10.0}
    assert chosen.settings["c"] < 10
    assert accuracy_of(chosen, fresh) > accuracy_of(weak, fresh)


def test_linear__constant_feature_and_other_units__change_nothing():
    bank, val, test = (clusters(60, seed=seed, spread=0.8) for seed in range(3))

    def changed(of):
        return of._replace(features=np.hstack([of.features * 1000 + 5, np.full((60, 1), 0.1)]))

    plain, other = fit_linear(bank, val, 3), fit_linear(changed(bank), changed(val), 3)
    np.testing.assert_allclose(other.logits(changed(test).features), plain.logits(test.features), rtol=1e-3, atol=1e-3)


def test_evaluate_by_probes__run__has_a_row_of_each_probe_for_every_split(method):
    rows = probed(method)
    names = ("val", "test", "ood/elsewhere")
    assert [(row.split, row.head) for row in rows] == [(n, head) for n in names for head in ("knn", "linear_probe")]
    for row in rows:
        assert (row.kind, len(row.parts["class"])) == ("task", 4)
        assert 0 <= row.main.low <= row.main.value <= row.main.high <= 1
        assert 0 < row.measures["nll"].value < np.inf
        assert 0 <= row.measures["ece"].value <= 1
    assert [row.n for row in rows] == [30, 30, 30, 30, 20, 20]
    assert probed(method, probes=["linear"]) == [row for row in rows if row.head == "linear_probe"]
    assert probed(method, probes=["knn"], neighbours=20) == [row for row in rows if row.head == "knn"]


def test_evaluate_by_probes__other_test_labels__change_no_fit(method):
    labels = TEST.columns["label"].values.roll(1)
    other = InMemorySource(TEST.name, TEST.images, {"label": Column(labels, TEST.vocabulary["label"])})
    before, after = probed(method), probed(method, replace(SPLITS, test=TestSplit(other)))
    assert [row for row in after if row.split != "test"] == [row for row in before if row.split != "test"]
    reader = reader_of(method)
    fitted = fit_probes(reader, SPLITS.train, SPLITS.val)
    assert evaluate_probes(fitted, reader, SPLITS.test) == [row for row in before if row.split == "test"]
    assert evaluate_probes(fitted, reader, TestSplit(other)) == [row for row in after if row.split == "test"]


def test_evaluate_by_probes__features__are_those_that_the_method_predicts_from_in_evaluation_mode():
    backbone = BackboneConfig(name="resnet8").build(TASK, seed=0)
    method = Supervised.Config().build(Networks(backbone, TASK, seed=0)).train()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    found = reader_of(method).features(SPLITS.test)
    assert method.training
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    with torch.no_grad():
        images = (TEST.images.float() / 255 - PIPELINE.mean.view(-1, 1, 1)) / PIPELINE.std.view(-1, 1, 1)
        expected = method.eval().backbone(images).pooled
    np.testing.assert_allclose(found.features, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert found.answers.tolist() == TEST.columns["label"].values.tolist()


def test_evaluate_by_probes__method_without_a_class_head__is_judged_by_its_backbone(method):
    expected = probed(method)
    method.head_names = ()
    reader = reader_of(method)
    assert not reader.predicts
    assert probed(method) == expected
    assert reader.evaluate(SPLITS.test) == []
    with pytest.raises(ConfigError, match=r"a method with a head that predicts, got Supervised: .*--probe all"):
        reader.require_head()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"probes": ["svm"]}, "probes of knn, linear, got 'svm'"),
        ({"probes": []}, "probes of knn, linear, got none"),
        ({"neighbours": 61}, r"neighbours in 1\.\.60, the training images, got 61"),
    ],
)
def test_evaluate_by_probes__what_there_is_not__is_refused(method, options, says):
    with pytest.raises(ConfigError, match=says):
        probed(method, **options)


def test_evaluate_by_probes__class_without_training_images__is_refused(method):
    rest = TRAIN.subset((TRAIN.columns["label"].values > 0).nonzero().flatten(), "train")
    with pytest.raises(DataError, match=f"training images of every class for probes, got none of '{SHAPES[0]}'"):
        probed(method, replace(SPLITS, train=TrainSplit(rest)))


def test_evaluate_by_probes__diverged_weights__are_refused(method):
    with torch.no_grad():
        next(method.backbone.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="finite features on train"):
        probed(method)


def test_scores__likelihood__is_that_of_the_softmax_of_the_logits():
    bank, test = clusters(60, seed=0, spread=0.5), clusters(30, seed=1, spread=0.5)
    for probe in (fit_knn(bank, 3), fit_linear(bank, test, 3)):
        logits = probe.logits(test.features)
        expected = (logsumexp(logits, axis=1) - logits[np.arange(30), test.answers]).mean()
        assert sum_answers(probe.scores(test)).nll == pytest.approx(expected)
