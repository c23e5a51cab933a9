"""Audits of columns: what is found, what cannot be told and why, and p-values corrected together."""

import json

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline, TestSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError, OptionError
from auxo.evaluation import Reader, group_images
from auxo.evaluation.audit import AuditConfig, audit_columns
from auxo.evaluation.audit.gaps import find_gap
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, combine_intervals, wilson_interval
from auxo.types import Column

COUNT = 240
SHAPES = oriented_shapes(COUNT, size=28, seed=0)
TASK = Classification(SHAPES.vocabulary["label"], *SHAPES.image_shape)
RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
LABELS = SHAPES.columns["label"].values
QUICK = AuditConfig(permutations=99, num_embedded=100)


def draw(*names, seed=0):
    """A column of random values."""
    generator = torch.Generator().manual_seed(seed)
    return Column(torch.randint(len(names), (COUNT,), generator=generator), names)


def answer(is_right):
    """The scores of a model that tells some images right and others not."""
    given = torch.where(is_right, LABELS, (LABELS + 1) % 4)
    scores = TASK.score(4.0 * torch.nn.functional.one_hot(given, 4).double(), {"label": LABELS})
    return {name: values.double() for name, values in scores.items()}


@pytest.fixture(scope="module")
def reader():
    """An untrained network."""
    method = Supervised.Config().build(Networks(BackboneConfig(), TASK, seed=0))
    return Reader(method=method, pipeline=InputPipeline.from_source(SHAPES), runtime=RUNTIME, batch_size=60)


def audit(reader, columns, is_right, config=QUICK):
    source = SHAPES.with_columns({**SHAPES.columns, **columns})
    return audit_columns(reader, TestSplit(source), list(columns), scores=answer(is_right), config=config)


def test_audit__right_on_one_value_alone__leans_and_a_column_of_noise_does_not(reader):
    ground, noise = draw("land", "sea"), draw("x", "y", seed=1)
    found, other = audit(reader, {"ground": ground, "noise": noise}, ground.values == 0)
    assert (found.verdict, found.predictions.p) == ("leans", 0.01)
    assert (found.class_gap.best, found.class_gap.worst, found.class_gap.size) == ("land", "sea", 1.0)
    assert (found.worst.value, found.worst.mean) == ("sea", 0.0)
    assert (found.gap.best, found.gap.worst, found.gap.stratum) == ("land", "sea", "")
    assert [group.measures["accuracy"].value for group in found.groups] == [1.0, 0.0]
    assert other.verdict == "cannot tell"
    assert "too few images to tell" in other.reasons[-1]


def test_audit__several_columns__p_values_are_corrected_for_all_tests_of_all(reader):
    columns = {name: draw("x", "y", seed=seed) for seed, name in enumerate("abc")}
    audits = audit(reader, columns, columns["a"].values == 0)
    plain = [each.predictions.p for each in audits] + [each.embeddings.test.p for each in audits]
    corrected = [each.predictions.p_holm for each in audits] + [each.embeddings.test.p_holm for each in audits]
    assert corrected[0] == pytest.approx(6 * plain[0])
    assert all(p <= q <= min(1.0, 6 * p) + 1e-12 for p, q in zip(plain, corrected, strict=True))


def test_audit_config__seed_of_24_digits__is_refused():
    with pytest.raises(OptionError, match=r"seed in \[0, 9\.22337e\+18\], got 10{23}"):
        AuditConfig(seed=10**23)


def test_audit__always_right_with_many_images__is_not_seen(reader):
    config = AuditConfig(permutations=19, num_embedded=40, smallest_gap=0.2)
    (found,) = audit(reader, {"ground": draw("land", "sea")}, torch.ones(COUNT, dtype=torch.bool), config)
    assert found.verdict == "not seen"
    assert found.class_gap.size == 0
    assert found.class_gap.high <= 0.2
    assert found.predictions.p == 1


def test_audit__a_difference_that_is_sure_but_smaller_than_what_matters__leans_slightly(reader):
    ground = draw("land", "sea")
    config = AuditConfig(permutations=99, num_embedded=40, smallest_gap=0.9)
    is_right = (ground.values == 0) | (torch.arange(COUNT) // 4 % 2 == 0)
    (found,) = audit(reader, {"ground": ground}, is_right, config)
    assert found.verdict == "leans slightly"
    assert 0.3 < found.class_gap.size < 0.9
    (plain,) = audit(reader, {"ground": ground}, is_right, AuditConfig(permutations=99, num_embedded=40))
    assert plain.verdict == "leans"


def test_audit__leaning_that_differs_from_class_to_class__is_seen_though_values_are_equal_over_all(reader):
    ground = draw("land", "sea")
    is_right = (ground.values == LABELS % 2) | (torch.arange(COUNT) % 10 == 0)
    (found,) = audit(reader, {"ground": ground}, is_right)
    assert found.gap.low < 0 < found.gap.high
    assert found.verdict == "leans"


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (Column(torch.zeros(COUNT, dtype=torch.int64), ("land",)), "all images have one value, 'land'"),
        (Column(LABELS % 2, ("land", "sea")), "the class decides what the column says"),
        (Column((torch.arange(COUNT) > COUNT - 5).long(), ("land", "sea")), "the groups are too small"),
        (Column(torch.zeros(COUNT, dtype=torch.int64), ("(none)",)), "no image has a value"),
    ],
)
def test_audit__a_column_of_which_nothing_can_be_told__says_why(reader, column, reason):
    (found,) = audit(reader, {"ground": column}, LABELS < 2)
    assert found.verdict == "cannot tell"
    assert reason in found.reasons[-1]
    assert (found.predictions, found.embeddings, found.class_gap, found.worst) == (None, None, None, None)
    json.dumps(found.to_record())


def test_audit__a_quantity_with_missing_values__is_cut_and_said_so(reader):
    names = (*(f"{k / 10}" for k in range(COUNT - 3)), "(none)")
    column = Column(torch.arange(COUNT).clamp_max(COUNT - 3), names)
    (found,) = audit(reader, {"height": column}, torch.arange(COUNT) < 60)
    assert found.reasons[:2] == (
        "height is a quantity, cut into 4 ranges of like many images",
        "3 images without a value are left out",
    )
    assert len(found.grouping.groups.names) == 4
    assert sum(group.n for group in found.groups) == COUNT - 3
    assert found.verdict == "leans"


def test_audit__no_such_column__is_refused(reader):
    with pytest.raises(ConfigError, match="a further column of the data, got 'sky'"):
        audit_columns(reader, TestSplit(SHAPES), ["sky"], scores=answer(LABELS < 2))


def test_audit__equal_seeds__find_the_same(reader):
    column = {"ground": draw("land", "sea")}
    first, second = (audit(reader, column, LABELS < 2)[0].to_record() for _ in range(2))
    assert first == second
    json.dumps(first, allow_nan=False)


def test_find_gap__three_parts__the_largest_with_an_interval_for_all_three_pairs():
    values = [torch.tensor([1.0] * hits + [0.0] * (20 - hits)) for hits in (18, 10, 12)]
    found = find_gap([("a", name, own) for name, own in zip("xyz", values, strict=True)], is_more_better=True)
    ends = [wilson_interval(hits, 20, 1 - 0.05 / 3) for hits in (18, 10)]
    assert (found.best, found.worst, found.pairs) == ("x", "y", 3)
    assert (found.low, found.high) == pytest.approx(combine_intervals([0.9, 0.5], ends, [1.0, -1.0]))
    turned = find_gap([("a", name, own) for name, own in zip("xyz", values, strict=True)], is_more_better=False)
    assert (turned.best, turned.worst, turned.size) == ("y", "x", found.size)


def test_find_gap__parts_of_other_strata__are_no_pair():
    one, two = torch.ones(5), torch.zeros(5)
    assert find_gap([("a", "x", one), ("b", "y", two)], is_more_better=True) is None


def test_audit__a_task_of_pixels__tests_the_features_alone_and_says_so(pixel_reader, pixel_source):
    config = AuditConfig(permutations=19, fewest=2)
    split = TestSplit(pixel_source)
    scores = pixel_reader.scores(split)["pixels"]
    (found,) = audit_columns(pixel_reader, split, ["side"], scores=scores, config=config)
    assert found.verdict == "cannot tell"
    assert "mIoU is not the mean of single images' values" in found.reasons[-1]
    assert found.predictions is None
    assert 0 < found.embeddings.test.p <= 1
    assert [set(group.measures) for group in found.groups] == [{"mIoU", "pixel_accuracy"}] * 2


def test_group_images__a_task_without_classes__has_one_stratum(pixel_reader, pixel_source):
    grouping = group_images(pixel_source, "side", task=pixel_reader.task, bins=4)
    assert grouping.strata.names == ("all images",)
