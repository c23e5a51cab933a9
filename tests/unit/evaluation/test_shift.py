"""Measures at other strengths of a column: marginals kept to rounding, sets that are really so, what is refused."""

import pytest
import torch

from auxo.data import InMemorySource, TestSplit
from auxo.errors import ConfigError, DataError
from auxo.evaluation import (
    build_shift_table,
    evaluate_under_shift,
    find_usual,
    group_images,
    pair_values,
    shift_weights,
)
from auxo.tasks import Classification
from auxo.types import Column

NAMES = ("cat", "dog")
TASK = Classification(NAMES, channels=3, height=8, width=8)


def draw_set(count, strength, *, seed=0, lean=2.0):
    """A source of classes and backgrounds, and the scores of a model that looks at both."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(count, generator=generator) < 0.3).long()
    grounds = torch.where(torch.rand(count, generator=generator) < strength, labels, 1 - labels)
    margins = (2.0 * labels - 1) + lean * (2.0 * grounds - 1) + 1.5 * torch.randn(count, generator=generator)
    columns = {"label": Column(labels, NAMES), "ground": Column(grounds, ("sofa", "lawn"))}
    source = InMemorySource("pets", torch.zeros(count, 3, 8, 8, dtype=torch.uint8), columns)
    logits = torch.stack([torch.zeros_like(margins), margins], 1)
    scores = TASK.score(logits, {"label": labels})
    return source, {name: values.double() for name, values in scores.items()}


def shift(source, scores, name="ground", **options):
    grouping = group_images(source, name, task=TASK, bins=4)
    return evaluate_under_shift(TASK, scores, grouping, split="test", head="classes", **options)


def test_shift_weights__every_strength__reproduce_it_and_the_classes_to_rounding():
    source, scores = draw_set(500, 0.8)
    grouping = group_images(source, "ground", task=TASK, bins=4)
    labels, grounds = (source.columns[name].values for name in ("label", "ground"))
    curve = shift(source, scores, strengths=(0.1, 0.5, 0.95))
    for point in curve.points:
        weights = shift_weights(grouping, curve.usual, strength=point.strength)
        for label in (0, 1):
            own = weights[labels == label]
            assert float(own.sum()) == pytest.approx(int((labels == label).sum()), abs=1e-10)
            usual = weights[(labels == label) & (grounds == label)]
            assert float(usual.sum() / own.sum()) == pytest.approx(point.strength, abs=1e-12)
        right = scores["right"] == scores["given"]
        assert point.measures["accuracy"].value == pytest.approx(float(weights[right].sum() / weights.sum()))
        assert point.effective_size == pytest.approx(float(weights.sum() ** 2 / (weights**2).sum()))


def test_shift_weights__several_other_values__keep_their_proportions():
    labels, values = torch.tensor([0] * 8), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])
    columns = {"label": Column(labels, NAMES), "ground": Column(values, ("sofa", "lawn", "sand"))}
    source = InMemorySource("pets", torch.zeros(8, 3, 8, 8, dtype=torch.uint8), columns)
    weights = shift_weights(group_images(source, "ground", task=TASK, bins=4), {"cat": "sofa"}, strength=0.4)
    shares = torch.zeros(3, dtype=torch.float64).index_add_(0, values, weights / 8)
    assert shares.tolist() == pytest.approx([0.4, 0.4, 0.2], abs=1e-12)


def test_shift__its_own_strength__is_the_set_as_it_is():
    source, scores = draw_set(400, 0.8)
    labels, grounds = (source.columns[name].values for name in ("label", "ground"))
    by_class = [float((grounds[labels == label] == label).double().mean()) for label in (0, 1)]
    plain = TASK.measure(scores, {}).measures
    curve = shift(source, scores, strengths=by_class)
    assert curve.observed == pytest.approx(float((labels == grounds).double().mean()))
    low, high = (min(each, key=lambda point: point.strength) for each in (curve.points, curve.points[::-1]))
    assert low.effective_size == pytest.approx(400, rel=0.01)
    assert min(by_class) - 0.05 <= curve.observed <= max(by_class) + 0.05
    assert high.measures["accuracy"].value == pytest.approx(plain["accuracy"].value, abs=0.01)
    assert high.measures["auroc"].value == pytest.approx(plain["auroc"].value, abs=0.01)


@pytest.mark.parametrize("strength", [0.1, 0.5])
def test_shift__a_set_that_really_has_the_strength__measures_the_same(strength):
    curve = shift(*draw_set(8000, 0.8), strengths=(strength,))
    drawn = TASK.measure(draw_set(20000, strength, seed=1)[1], {}).measures
    for name in ("accuracy", "auroc"):
        measure = curve.points[0].measures[name]
        assert measure.value == pytest.approx(drawn[name].value, abs=0.03)
        assert measure.low - 0.01 <= drawn[name].value <= measure.high + 0.01


def test_shift__worst_group_and_worst_value__one_keeps_and_one_follows_the_strength():
    curve = shift(*draw_set(2000, 0.7))
    cells = [point.measures["worst_group/ground"].value for point in curve.points]
    values = [point.measures["worst_value/ground"].value for point in curve.points]
    assert len(set(cells)) == 1
    assert values[0] < values[-1] - 0.2
    assert max(cells) <= min(values)


def test_shift__a_class_with_one_value_only__is_marked_where_it_is_needed_and_refused_where_nothing_is_left():
    source, scores = draw_set(300, 1.0)
    curve = shift(source, scores, strengths=(0.5, 1.0))
    assert not curve.points[0].measures
    assert curve.points[0].reason.endswith("would need images of cat with another value of ground; there is none")
    assert curve.points[1].measures["accuracy"].value == TASK.measure(scores, {}).measures["accuracy"].value
    table = build_shift_table([curve])
    assert table.lines[0][1:4] == ("0.5", "-", "-")
    assert "would need images of cat" in table.caption
    with pytest.raises(DataError, match="another value of ground"):
        shift(source, scores, strengths=(0.1, 0.9))


def test_shift__few_images_of_a_kind__are_named():
    source, scores = draw_set(200, 0.97)
    (note,) = shift(source, scores).notes
    assert note.startswith("fewer than ten images stand for all of their kind: ")
    assert "dog other" in note


def test_shift__one_value__is_refused():
    source, scores = draw_set(20, 0.5)
    source = source.with_columns({**source.columns, "ground": Column(torch.zeros(20, dtype=torch.int64), ("sofa",))})
    with pytest.raises(DataError, match=r"two values or more of 'ground' on test, got 'sofa' only"):
        shift(source, scores)


def test_shift__a_task_without_measures_of_weighted_images__is_refused(pixel_reader, pixel_source):
    grouping = group_images(pixel_source, "side", task=pixel_reader.task, bins=4)
    scores = pixel_reader.scores(TestSplit(pixel_source))["pixels"]
    with pytest.raises(DataError, match="PixelClasses has no measure of weighted images"):
        evaluate_under_shift(pixel_reader.task, scores, grouping, split="test", head="pixels")


def test_shift__strength_or_pairs_that_cannot_be__are_refused():
    source, scores = draw_set(50, 0.5)
    with pytest.raises(ConfigError, match=r"strengths in \[0, 1\], got 1.5"):
        shift(source, scores, strengths=(1.5,))
    with pytest.raises(ConfigError, match=r"none for 'dog' on test: name it with --pairs dog=VALUE"):
        shift(source, scores, usual={"cat": "sofa"})


def test_shift__pairs_given__turn_the_curve_round():
    source, scores = draw_set(600, 0.5)
    options = {"usual": {"cat": "sofa", "dog": "lawn"}, "strengths": (0.2, 0.8)}
    straight = shift(source, scores, **options)
    turned = shift(source, scores, **{**options, "usual": {"cat": "lawn", "dog": "sofa"}})
    first, second = straight.points[0].measures["accuracy"].value, turned.points[1].measures["accuracy"].value
    assert first == pytest.approx(second, abs=1e-12)


def test_records__every_strength__are_values_that_json_has():
    import json

    records = shift(*draw_set(200, 0.8), strengths=(0.2, 0.8)).to_records()
    again = json.loads(json.dumps(records))
    assert [row["strength"] for row in again] == [0.2, 0.8]
    assert again[0]["usual"] == {"cat": "sofa", "dog": "lawn"}
    assert set(again[0]["measures"]) == {"accuracy", "auroc", "worst_value/ground", "worst_group/ground"}


def test_pair_values__as_many_values_as_classes__no_value_goes_with_two_classes():
    right = Column(torch.tensor([0] * 10 + [1] * 10 + [2] * 10), ("a", "b", "c"))
    values = torch.tensor([0] * 9 + [1] + [0] * 6 + [1] * 4 + [0] * 1 + [1] * 3 + [2] * 6)
    assert pair_values(right, Column(values, ("x", "y", "z"))) == {"a": "x", "b": "y", "c": "z"}


def test_pair_values__more_classes_than_values__each_class_has_the_value_it_shows_too_often():
    right = Column(torch.tensor([0] * 4 + [1] * 4 + [2] * 4), ("a", "b", "c"))
    values = torch.tensor([0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0])
    assert pair_values(right, Column(values, ("x", "y"))) == {"a": "x", "b": "y", "c": "x"}


def test_find_usual__a_set_without_the_column__knows_nothing():
    source, _ = draw_set(50, 0.9)
    assert find_usual(source, "ground", task=TASK) == {"cat": "sofa", "dog": "lawn"}
    assert find_usual(source, "sky", task=TASK) is None
