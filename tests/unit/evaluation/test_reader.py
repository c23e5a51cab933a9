"""What a reader gives of a trained model, whatever its task."""

from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError, DataError
from auxo.estimation import fit_estimation
from auxo.evaluation import (
    Reader,
    evaluate_by_probes,
    evaluate_under_attack,
    evaluate_under_corruptions,
)
from auxo.evaluation.attacks.noise import Noise
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Column

RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
SHAPES = oriented_shapes(80, size=28, seed=0)
TASK = Classification(SHAPES.vocabulary["label"], *SHAPES.image_shape)
PIPELINE = InputPipeline.from_source(SHAPES)
HALVES = Column(torch.arange(80) % 2, ("even", "odd"))


def reader_of(method, batch_size=32):
    return Reader(method=method, pipeline=PIPELINE, runtime=RUNTIME, batch_size=batch_size)


@pytest.fixture
def method():
    return OSSL.Config().build(Networks(BackboneConfig(), TASK, seed=0))


@pytest.fixture
def grouped():
    """The images with a further column."""
    return TestSplit(SHAPES.with_columns({**SHAPES.columns, "half": HALVES}))


def test_heads__method_with_two__are_these_and_their_mean(method):
    reader = reader_of(method)
    assert reader.heads == ("semantic", "auxiliary", "mean")
    assert (reader.require_head(), reader.predicts) == ("semantic", True)


def test_scores__any_batch_size__are_those_of_the_images_in_their_order(method):
    split = TestSplit(SHAPES)
    scores = reader_of(method, batch_size=7).scores(split)
    assert scores.keys() == {"semantic", "auxiliary", "mean"}
    images = reader_of(method).inputs(SHAPES.images)
    with torch.no_grad():
        outputs = method.eval().head_logits(images)
    for head in ("semantic", "auxiliary"):
        expected = TASK.score(outputs[head], {"label": SHAPES.columns["label"].values})
        for name, values in expected.items():
            assert torch.allclose(scores[head][name], values.double(), atol=1e-5)
    average = (outputs["semantic"] + outputs["auxiliary"]) / 2
    assert torch.equal(scores["mean"]["given"], average.argmax(1).double())


def test_evaluate__further_column__groups_the_heads_of_the_task_alone(method, grouped):
    rows = reader_of(method).evaluate(grouped)
    for row in rows:
        is_task = row.kind == "task"
        assert ("worst_group/half" in row.measures) == is_task
        assert set(row.parts) == ({"class", "half"} if is_task else {"answer"})
    even, odd = (rows[0].parts["half"][name] for name in HALVES.names)
    assert (even.n, odd.n) == (40, 40)
    assert (even.value + odd.value) / 2 == pytest.approx(rows[0].main.value)


def test_evaluate__further_column__changes_no_other_number(method, grouped):
    plain, found = (reader_of(method).evaluate(split)[0] for split in (TestSplit(SHAPES), grouped))
    measures = {name: measure for name, measure in found.measures.items() if not name.startswith("worst_group")}
    assert replace(found, measures=measures, parts={"class": found.parts["class"]}, notes=()) == plain


def test_evaluate__hidden_column__is_no_group(method):
    nothing = Column(torch.full((80,), -1), ())
    split = TestSplit(SHAPES.with_columns({**SHAPES.columns, "half": nothing}))
    assert set(reader_of(method).evaluate(split)[0].parts) == {"class"}


def test_evaluate_under_corruptions__further_column__has_means_of_the_groups(method, grouped):
    reader = reader_of(method)
    rows = evaluate_under_corruptions(reader, grouped, seed=0, kinds=("fog",), severities=(1, 5))
    by_split = {row.split: row for row in rows if row.head == "semantic"}
    mean, parts = by_split["corruption/fog/mean"], [by_split[f"corruption/fog/{severity}"] for severity in (1, 5)]
    worst = [part.measures["worst_group/half"].value for part in parts]
    assert mean.measures["worst_group/half"].value == pytest.approx(sum(worst) / 2)
    assert mean.measures["worst_group/half"].low is None
    odd = [part.parts["half"]["odd"] for part in parts]
    assert mean.parts["half"]["odd"][:2] == (80, pytest.approx((odd[0].value + odd[1].value) / 2))


def test_evaluate_by_probes__further_column__groups_the_probes(method, grouped):
    splits = Splits(TrainSplit(SHAPES), ValSplit(SHAPES), grouped)
    rows = evaluate_by_probes(reader_of(method), splits, probes=("knn",))
    assert [set(row.parts) for row in rows] == [{"class"}, {"class", "half"}]


def test_evaluate__task_with_places__has_its_own_measures_and_groups(pixel_reader, pixel_source):
    (row,) = pixel_reader.evaluate(TestSplit(pixel_source))
    assert (row.head, row.primary, row.n, row.chance) == ("pixels", "mIoU", 12, None)
    assert list(row.measures) == ["mIoU", "pixel_accuracy"]
    assert sum(part.n for part in row.parts["side"].values()) == 12
    pieces = replace(pixel_reader, batch_size=1).evaluate(TestSplit(pixel_source))
    assert pieces == [row]


def test_evaluate__task_with_places__labels_of_the_images_are_a_group(pixel_reader, pixel_source):
    kind = Column(torch.arange(12) % 3, ("a", "b", "c"))
    (row,) = pixel_reader.evaluate(TestSplit(pixel_source.with_columns({"label": kind})))
    assert [part.n for part in row.parts["label"].values()] == [4, 4, 4]


def test_evaluate_under_corruptions__task_with_places__means_have_no_interval(pixel_reader, pixel_source):
    rows = evaluate_under_corruptions(pixel_reader, TestSplit(pixel_source), seed=0, kinds=("fog",), severities=(1, 5))
    by_split = {row.split: row for row in rows}
    mean = by_split["corruption/fog/mean"].measures["mIoU"]
    values = [by_split[f"corruption/fog/{severity}"].measures["mIoU"].value for severity in (1, 5)]
    assert mean.value == pytest.approx(sum(values) / 2)
    assert mean.low is mean.high is None


@pytest.mark.parametrize("what", ["features", "attacks", "probes", "estimation"])
def test_reader__task_with_places__has_no_answers_for_what_asks_for_classes(what, pixel_reader, pixel_source):
    split = ValSplit(pixel_source)
    splits = Splits(TrainSplit(pixel_source), split, None, task_kind=type(pixel_reader.task))
    if what == "attacks":
        pytest.importorskip("foolbox", exc_type=ImportError)
    ask = {
        "features": lambda: pixel_reader.features(split),
        "attacks": lambda: evaluate_under_attack(pixel_reader, TestSplit(pixel_source), attacks=[Noise()], seed=0),
        "probes": lambda: evaluate_by_probes(pixel_reader, splits),
        "estimation": lambda: fit_estimation(pixel_reader, split, seed=0),
    }[what]
    with pytest.raises(ConfigError, match=f"a task of one class per image for {what}.*got PixelClasses") as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_features__split__are_those_that_the_method_predicts_from_with_the_answers(method):
    found = reader_of(method, batch_size=9).features(TestSplit(SHAPES))
    with torch.no_grad():
        expected = method.eval().backbone(reader_of(method).inputs(SHAPES.images)).pooled
    assert torch.allclose(torch.from_numpy(found.features), expected.double(), atol=1e-5)
    assert found.answers.tolist() == SHAPES.columns["label"].values.tolist()


def test_inputs__pixels__are_normalised_as_those_of_a_batch():
    reader = reader_of(Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0)))
    batch = reader.normalised(next(reader.batches(TestSplit(SHAPES))))
    assert torch.equal(reader.inputs(SHAPES.images[:32]), batch.images)


def test_batches__empty_split__is_refused(method):
    empty = InMemorySource("nothing", torch.zeros(0, 3, 28, 28, dtype=torch.uint8))
    with pytest.raises(DataError, match="images in test, got none"):
        next(reader_of(method).batches(TestSplit(empty)))
