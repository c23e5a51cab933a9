"""What the outputs of a classifier add up to: by hand, and beside scikit-learn."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from auxo.data import InMemorySource
from auxo.errors import CheckpointError, ConfigError, DataError, NonFiniteError
from auxo.tasks import (
    AbstractTask,
    Classification,
    Measure,
    Part,
    Target,
    auroc_interval,
    bootstrap_interval,
    wilson_interval,
)
from auxo.types import Column

THREE = Classification(("a", "b", "c"), channels=3, height=8, width=8)
TWO = Classification(("no", "yes"), channels=3, height=8, width=8)


def measured(task, outputs, labels, columns=None):
    """Return what outputs add up to, of scores as a tally gives them back."""
    scores = task.score(torch.as_tensor(outputs, dtype=torch.float64), {"label": torch.as_tensor(labels)})
    return task.measure({name: values.double() for name, values in scores.items()}, columns or {})


def of_margins(margins, labels):
    """Return the measures of two classes whose logits differ by so much."""
    margins = torch.as_tensor(margins, dtype=torch.float64)
    return measured(TWO, torch.stack([torch.zeros_like(margins), margins], 1), labels).measures


def answered(rights, task=TWO):
    """Return sure outputs and labels: of each class so many wrong and so many right."""
    labels, given = [], []
    for label, (wrong, right) in enumerate(rights):
        labels += [label] * (wrong + right)
        given += [(label + 1) % task.num_outputs] * wrong + [label] * right
    return 4.0 * torch.nn.functional.one_hot(torch.tensor(given), task.num_outputs), torch.tensor(labels)


def test_measure__three_answers__are_those_computed_by_hand():
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], dtype=torch.float64)
    found = measured(THREE, probabilities.log(), [0, 2, 1]).measures
    assert list(found) == ["accuracy", "nll", "ece"]
    assert found["accuracy"] == Measure(2 / 3, *wilson_interval(2, 3))
    assert found["nll"].value == pytest.approx(-(log(0.5) + log(0.7) + log(0.3)) / 3, rel=1e-12)
    assert (found["nll"].unit, found["nll"].higher_is_better) == ("nats", False)
    # Three bins of one item each: right at 0.5 and 0.7, wrong at 0.4.
    assert found["ece"].value == pytest.approx((0.5 + 0.3 + 0.4) / 3, abs=1e-6)
    assert not found["ece"].higher_is_better


def test_measure__two_classes__ranks_as_computed_by_hand():
    # Of nine pairs of a positive and a negative seven are in order and one is tied. Precisions at the three recalls: 1
    # of 1, 2 of 3 (the tied negative counts), 3 of 4.
    found = of_margins([-2, 0.5, -1, 1, -0.2, 0.5], [0, 0, 0, 1, 1, 1])
    assert found["auroc"].value == pytest.approx(7.5 / 9, rel=1e-12)
    assert found["average_precision"].value == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, rel=1e-12)
    assert (found["auroc"].low, found["auroc"].high) == auroc_interval(7.5 / 9, positives=3, negatives=3)
    assert found["average_precision"].low is None


def test_measure__random_margins__equal_sklearn():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (300,), generator=generator)
    margins = torch.randn(300, generator=generator, dtype=torch.float64) + labels
    found = of_margins(margins, labels)
    assert found["auroc"].value == pytest.approx(roc_auc_score(labels, margins), rel=1e-12)
    assert found["average_precision"].value == pytest.approx(average_precision_score(labels, margins), rel=1e-12)


def test_measure__calibration_shifted__moves_the_likelihood_and_not_the_ranks():
    margins, labels = [-1.0, 0.3, 0.8, 2.0], [0, 1, 0, 1]
    plain, shifted = (of_margins([shift + margin for margin in margins], labels) for shift in (0.0, 5.0))
    assert shifted["auroc"] == plain["auroc"]
    assert shifted["nll"].value > plain["nll"].value


@pytest.mark.parametrize("label", [0, 1])
def test_measure__one_class_alone__has_no_ranks(label):
    assert list(of_margins([-1.0, 0.5, 2.0], [label] * 3)) == ["accuracy", "nll", "ece"]


@pytest.mark.parametrize(("labels", "value"), [([0, 0, 1, 1], 1.0), ([1, 1, 0, 0], 0.0)])
def test_measure__ranks_without_a_mistake_or_without_a_hit__have_no_interval(labels, value):
    auroc = of_margins([-1.0, 0.0, 1.0, 2.0], labels)["auroc"]
    assert (auroc.value, auroc.low, auroc.high) == (value, None, None)


def test_measure__three_classes__have_no_ranks():
    assert "auroc" not in measured(THREE, torch.eye(3), [0, 1, 2]).measures


def test_score__half_precision__keeps_margins_that_half_cannot():
    outputs = torch.tensor([[-3.0, 256.0], [-2.0, 256.0]], dtype=torch.bfloat16)
    margins = TWO.score(outputs, {"label": torch.tensor([0, 1])})["margin"]
    assert margins.tolist() == [259.0, 258.0]


def test_measure__further_column__names_the_worst_cell_with_its_interval():
    outputs, labels = answered([(2, 18), (9, 21)])
    groups = torch.tensor([0] * 10 + [1] * 10 + [1] * 20 + [0] * 10)
    # In "no" the wrong come first, so 8 of 10 and 10 of 10; in "yes" 11 of 20 and 10 of 10.
    found = measured(TWO, outputs, labels, {"place": Column(groups, ("land", "sea"))})
    assert found.measures["worst_group/place"] == Measure(11 / 20, *wilson_interval(11, 20))
    assert found.notes == ()


def test_measure__blocks__make_intervals_as_wide_as_they_are_few_and_no_group():
    right = torch.tensor([1, 0, 1, 1, 0, 1, 1, 0, 1, 1]).repeat_interleave(8).bool()
    labels = torch.arange(80) % 2
    outputs = torch.eye(2)[torch.where(right, labels, 1 - labels)]
    blocks = Column(torch.arange(80) // 8, tuple(f"p{k}" for k in range(10)))
    task = replace(TWO, blocks="patient")
    found = measured(task, outputs, list(labels), {"patient": blocks})
    assert found.measures["accuracy"].value == 56 / 80
    ends = wilson_interval(7, 10)  # images of a block are all right or all wrong: 56 of 80 say as much as 7 of 10
    assert found.measures["accuracy"][1:3] == pytest.approx((ends.low, ends.high))
    assert "worst_group/patient" not in found.measures
    assert [part.value for part in found.parts["patient"].values()] == [1, 0, 1, 1, 0, 1, 1, 0, 1, 1]
    assert found.notes == ("intervals are of whole blocks of images, 10 by patient",)
    assert measured(task, outputs, list(labels)).measures["accuracy"].low == wilson_interval(56, 80).low


def test_measure__blocks_of_one_image__rank_as_the_bootstrap_over_images():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (60,), generator=generator)
    margins = torch.randn(60, generator=generator, dtype=torch.float64) + labels
    outputs = torch.stack([torch.zeros(60, dtype=torch.float64), margins], 1)
    task = replace(TWO, blocks="patient")
    alone = measured(task, outputs, labels.tolist(), {"patient": Column(torch.arange(60), tuple(map(str, range(60))))})
    few = measured(task, outputs, labels.tolist(), {"patient": Column(torch.arange(60) // 30, ("a", "b"))})
    auroc = alone.measures["auroc"]
    assert auroc.value == pytest.approx(roc_auc_score(labels, margins))
    ranks = bootstrap_interval(lambda drawn: float(roc_auc_score(labels[drawn], margins[drawn])), 60, resamples=200)
    assert (auroc.low, auroc.high) == pytest.approx(tuple(ranks), abs=0.05)
    halves = sorted(float(roc_auc_score(labels[part], margins[part])) for part in (slice(30), slice(30, 60)))
    assert (few.measures["auroc"].low, few.measures["auroc"].high) == pytest.approx(tuple(halves))


def test_measure__small_cells__are_left_out_and_named():
    outputs, labels = answered([(9, 11), (9, 21)])
    groups = torch.tensor([0] * 9 + [1] * 11 + [0] * 29 + [1])
    # The cell of no/land is all wrong, of nine images; the next is yes/land with 20 of 29.
    found = measured(TWO, outputs, labels, {"place": Column(groups, ("land", "sea"))})
    assert found.measures["worst_group/place"].value == pytest.approx(20 / 29)
    assert found.notes == ("left out of the worst group for fewer than ten images: no/land (9), yes/sea (1) (place)",)


def test_measure__cells_of_fewer_than_ten__have_no_worst_group():
    outputs, labels = answered([(1, 8), (0, 9)])
    found = measured(TWO, outputs, labels, {"place": Column(torch.zeros(18, dtype=torch.int64), ("land", "sea"))})
    assert "worst_group/place" not in found.measures
    assert "no/land (9), yes/land (9)" in found.notes[0]


def test_measure__cells_with_one_name__are_told_apart():
    task = Classification(("a", "a/b"), channels=3, height=8, width=8)
    outputs, labels = answered([(10, 0), (0, 10)])
    groups = Column(torch.tensor([0] * 10 + [1] * 10), ("b/c", "c"))
    assert measured(task, outputs, labels, {"place": groups}).measures["worst_group/place"].value == 0.0


def test_measure__two_columns__have_a_worst_group_and_parts_each():
    outputs, labels = answered([(5, 15), (0, 20)])
    halves, all_alike = torch.arange(40) % 2, torch.zeros(40, dtype=torch.int64)
    columns = {"half": Column(halves, ("even", "odd")), "site": Column(all_alike, ("here", "there"))}
    found = measured(TWO, outputs, labels, columns)
    # Of the five wrong ones, at the places 0 to 4, three are even.
    assert found.measures["worst_group/half"].value == pytest.approx(7 / 10)
    assert found.measures["worst_group/site"].value == pytest.approx(15 / 20)
    assert found.parts == {
        "class": {"no": Part(20, 0.75), "yes": Part(20, 1.0)},
        "half": {"even": Part(20, 17 / 20), "odd": Part(20, 18 / 20)},
        "site": {"here": Part(40, 35 / 40), "there": Part(0, None)},
    }


def test_measure__column_called_class__leaves_the_parts_by_class_alone():
    outputs, labels = answered([(5, 15), (0, 20)])
    columns = {"class": Column(torch.zeros(40, dtype=torch.int64), ("first", "second"))}
    found = measured(TWO, outputs, labels, columns)
    assert list(found.parts["class"]) == ["no", "yes"]
    assert found.parts["class (column)"]["first"] == Part(40, 35 / 40)


def test_measure__parts_by_class__mean_is_sklearns_balanced_accuracy():
    generator = torch.Generator().manual_seed(1)
    outputs, labels = torch.randn(200, 3, generator=generator), torch.randint(3, (200,), generator=generator)
    parts = measured(THREE, outputs, labels).parts["class"]
    expected = balanced_accuracy_score(labels, outputs.argmax(1))
    assert np.mean([part.value for part in parts.values()]) == pytest.approx(expected)


def test_measure__outputs_that_are_no_numbers__are_refused():
    with pytest.raises(NonFiniteError, match="finite logits"):
        measured(TWO, [[float("nan"), 0.0], [1.0, 0.0]], [0, 1])


def test_image_values__mean__is_the_accuracy():
    outputs, labels = answered([(3, 7), (1, 9)])
    values = TWO.image_values(TWO.score(outputs, {"label": labels}))
    assert values.tolist() == [0.0] * 3 + [1.0] * 7 + [0.0] + [1.0] * 9


def test_confusion__answers__are_counted_by_right_then_given():
    outputs, labels = answered([(3, 7), (1, 9), (0, 2)], THREE)
    scores = THREE.score(outputs, {"label": labels})
    assert THREE.confusion(scores).tolist() == [[7, 3, 0], [0, 9, 1], [0, 0, 2]]


def test_worsened__each_pair__keeps_the_wrong_one_or_the_less_likely():
    right, wrong = [2.0, 0.0], [0.0, 2.0]
    surer, more_wrong = [3.0, 0.0], [0.0, 3.0]
    clean = torch.tensor([right, wrong, surer, right, more_wrong])
    changed = torch.tensor([wrong, right, right, surer, wrong])
    found = TWO.worsened(clean, changed, {"label": torch.zeros(5, dtype=torch.int64)})
    assert found.tolist() == [wrong, wrong, right, right, more_wrong]


def test_answers__outputs__are_class_probability_and_all_probabilities():
    (answer,) = TWO.answers(torch.tensor([[0.0, log(3)]]))
    assert answer.cells == ("yes", "0.750000", "0.250000", "0.750000")
    assert answer.image is None
    assert TWO.answer_columns() == ("prediction", "probability", "p(no)", "p(yes)")


def source(labels, names):
    columns = {"label": Column(torch.tensor(labels), names)}
    return InMemorySource("set", torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), columns)


def test_from_source__labelled_images__has_their_classes_and_counts():
    task = Classification.from_source(source([0, 2, 2], ("a", "b", "c")))
    assert task == Classification(("a", "b", "c"), channels=3, height=8, width=8, class_counts=(1, 0, 2))
    assert (task.num_outputs, task.chance, task.image_shape) == (3, 1 / 3, (3, 8, 8))


def test_from_source__images_without_classes__are_refused_in_one_line():
    bare = InMemorySource("bare", torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(DataError, match=r"images with classes, got 'bare' without a column 'label'.*--task\.name"):
        Classification.from_source(bare)


@pytest.mark.parametrize(
    ("labels", "names", "says"),
    [
        ([0, 0], ("a",), r"at least two classes, got only \['a'\] in 'set'"),
        ([0, 2], ("a", "b", "c"), "training images of all 3 classes, got none of 'b' in 'set'"),
        ([0], ("a", "b", "c"), r"none of 'b' in 'set' \(2 such classes\)"),
    ],
)
def test_check_source__classes_that_cannot_be_learned__are_refused(labels, names, says):
    with pytest.raises(DataError, match=says):
        Classification.check_source(source(labels, names))


def test_record__task__comes_back_equal():
    task = Classification(("a", "b"), channels=1, height=4, width=6, class_counts=(3, 4))
    assert Classification.from_record(task.to_record(), origin="x") == task


def test_from_record__fields_of_another_task__are_refused():
    with pytest.raises(CheckpointError, match="the fields of the task Classification in x, got names, channels"):
        Classification.from_record({"names": ["a"], "channels": 3}, origin="x")


class Other(AbstractTask):
    """Another task, of which nothing is asked."""

    from_source = targets = num_outputs = chance = losses = score = measure = answer_columns = answers = None


def test_require__another_task__is_refused_in_one_line():
    with pytest.raises(ConfigError, match="the task Classification, got Other") as caught:
        Classification.require(Other())
    assert "\n" not in str(caught.value)
    assert Classification.require(TWO) is TWO


class ByKind(Classification):
    """Classes that the column ``kind`` tells."""

    @property
    def targets(self):
        return (Target("kind", self.class_names),)


def test_classification__another_column__is_what_losses_scores_and_attacks_go_by():
    task, plain = (kind(("a", "b"), channels=3, height=8, width=8) for kind in (ByKind, Classification))
    outputs, other = torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[0.0, 1.0], [0.0, 4.0]])
    named, right = {"kind": torch.tensor([0, 1]), "label": torch.tensor([1, 0])}, {"label": torch.tensor([0, 1])}
    assert torch.equal(task.losses(outputs, named), plain.losses(outputs, right))
    assert torch.equal(task.score(outputs, named)["nll"], plain.score(outputs, right)["nll"])
    assert task.worsened(outputs, other, named).tolist() == [[0.0, 1.0], [0.0, 3.0]]
