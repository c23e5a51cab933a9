"""The task of classes of pixels: what is read of a source, what is kept of images, and what it adds up to."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from auxo.data import InMemorySource, PlaceMap
from auxo.errors import AuxoError, DataError, NonFiniteError, ShapeError
from auxo.tasks import Classification, Segmentation, TaskConfig
from auxo.types import Column

NAMES = ("road", "sky", "car", "tram")
TASK = Segmentation(NAMES, 3, 6, 5)


def draw(count=7, *, classes=4, seed=0):
    """Logits and masks; the last class is in neither, and some pixels are unknown."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, 6, 5, generator=generator)
    logits[:, -1] -= 50
    masks = torch.randint(classes - 1, (count, 6, 5), generator=generator, dtype=torch.uint8)
    logits.scatter_add_(1, masks[:, None].long(), torch.ones(count, 1, 6, 5))  # some are right
    masks[:, 0] = 255
    return logits, masks


def score(task, logits, masks):
    return {name: values.double() for name, values in task.score(logits, {"mask": masks}).items()}


def make_source(values, names=("road", "sky"), **attributes):
    source = InMemorySource(
        "streets", torch.zeros(len(values), 3, 2, 2, dtype=torch.uint8), maps={"mask": PlaceMap(values, names, 255)}
    )
    for name, value in attributes.items():
        setattr(source, name, value)
    return source


def test_from_source__masks__counts_their_pixels():
    masks = torch.tensor([[[0, 1], [1, 255]], [[1, 1], [255, 255]]], dtype=torch.uint8)
    colours = ((1, 2, 3), (4, 5, 6))
    task = Segmentation.from_source(make_source(masks, colours={"mask": colours}, blocks="video"))
    assert task == Segmentation(("road", "sky"), 3, 2, 2, (1, 4), colours, "video")
    assert task.palette == colours
    assert task.chance == pytest.approx(4 / 5 / 2)  # sky everywhere: IoU 4/5 and 0
    assert Segmentation.from_record(json.loads(json.dumps(task.to_record())), origin="x") == task


def test_from_source__a_part_of_the_images__counts_that_part_alone():
    masks = torch.tensor([[[0, 1], [1, 255]], [[1, 1], [255, 255]]], dtype=torch.uint8)
    whole = make_source(masks, blocks="video")
    assert Segmentation.from_source(whole).pixel_counts == (1, 4)
    part = whole.subset(torch.tensor([1]), "part")
    assert Segmentation.from_source(part) == Segmentation(("road", "sky"), 3, 2, 2, (0, 2), blocks="video")
    assert Segmentation.from_source(part).notes == ("no training pixel is of the class road",)


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        ([[[0, 0], [0, 0]]], ("road",), r"masks of at least two classes, got only \['road'\] in 'streets'"),
        ([[[255, 255], [255, 255]]], ("road", "sky"), "training pixels that have a class, got none in 'streets'"),
    ],
)
def test_check_source__nothing_to_learn__is_refused(values, names, message):
    with pytest.raises(DataError, match=message):
        Segmentation.check_source(make_source(torch.tensor(values, dtype=torch.uint8), names))


def test_from_source__images_without_masks__says_what_is_missing():
    source = InMemorySource("photos", torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    with pytest.raises(DataError, match="images with masks, got 'photos' without a target 'mask'"):
        Segmentation.from_source(source)


def test_require__other_task__is_refused():
    assert Segmentation.require(TASK) is TASK
    with pytest.raises(AuxoError, match="the task Segmentation, got Classification"):
        Segmentation.require(Classification(("a", "b"), 3, 4, 4))
    assert TaskConfig(name="segmentation").kind() is Segmentation


def test_losses__uint8_masks__are_zero_where_unknown():
    logits, masks = draw()
    losses = TASK.losses(logits, {"mask": masks})
    assert losses.shape == masks.shape
    assert torch.equal(losses == 0, masks == 255)


def measure_by_loop(logits, masks, classes):
    """Sets of pixels, one class and one image at a time."""
    ious, recalls = {}, {}
    for c in range(classes):
        both = either = true = 0
        for image, mask in zip(logits, masks, strict=True):
            given = {(y, x) for y in range(6) for x in range(5) if int(image[:, y, x].argmax()) == c}
            right = {(y, x) for y in range(6) for x in range(5) if int(mask[y, x]) == c}
            known = {(y, x) for y in range(6) for x in range(5) if int(mask[y, x]) != 255}
            both += len(given & right)
            either += len((given | right) & known)
            true += len(right)
        if either:
            ious[c] = both / either
        if true:
            recalls[c] = both / true
    return ious, recalls


def test_measure__masks_with_unknown_pixels__equals_sets_of_pixels_and_torchmetrics():
    logits, masks = draw()
    found = TASK.measure(score(TASK, logits, masks), {})
    ious, recalls = measure_by_loop(logits, masks, 4)
    values = {name: measure.value for name, measure in found.measures.items()}
    assert list(values) == ["mIoU", "pixel_accuracy", "mean_accuracy", "nll"]
    assert values["mIoU"] == pytest.approx(sum(ious.values()) / 3)
    assert values["mean_accuracy"] == pytest.approx(sum(recalls.values()) / 3)
    assert [found.parts["class"][name].value for name in NAMES] == [*map(pytest.approx, ious.values()), None]
    assert found.parts["class"]["tram"].n == 0
    assert found.notes == ("left out of mIoU, in neither masks nor answers: tram",)
    pair = logits, masks.long()
    options = {"num_classes": 4, "ignore_index": 255}
    own = multiclass_jaccard_index(*pair, average="none", **options)
    assert [float(own[c]) for c in ious] == pytest.approx(list(ious.values()))
    assert values["pixel_accuracy"] == pytest.approx(float(multiclass_accuracy(*pair, average="micro", **options)))
    known = torch.nn.functional.cross_entropy(*pair, ignore_index=255)
    assert values["nll"] == pytest.approx(float(known), rel=1e-6)


def test_measure__more_than_32_classes__keeps_margins_and_measures_the_same():
    names = tuple(f"class {k}" for k in range(40))
    many, few = Segmentation(names, 3, 6, 5), Segmentation(names[:4], 3, 6, 5)
    logits, masks = draw()
    wide = torch.cat([logits, torch.full((7, 36, 6, 5), -60.0)], 1)
    kept = score(many, wide, masks)
    assert kept["right"].shape == (7, 40)
    assert many.confusion(kept) is None
    measures = [task.measure(s, {}).measures for task, s in ((many, kept), (few, score(few, logits, masks)))]
    for name, measure in measures[0].items():
        other = measures[1][name]
        assert (measure.value, measure.low, measure.high) == pytest.approx((other.value, other.low, other.high))


def test_measure__class_in_answers_only__counts_as_zero():
    masks = torch.zeros(2, 6, 5, dtype=torch.uint8)
    logits = torch.zeros(2, 4, 6, 5)
    logits[:, 0] = 1
    logits[0, 1, 0, 0] = 2  # one pixel of 60 is taken for sky
    found = TASK.measure(score(TASK, logits, masks), {})
    assert found.measures["mIoU"].value == pytest.approx((59 / 60 + 0) / 2)
    assert found.measures["mean_accuracy"].value == pytest.approx(59 / 60)


def test_measure__blocks__draws_whole_blocks():
    logits, masks = draw(3)
    logits, masks = logits.repeat(20, 1, 1, 1), masks.repeat(20, 1, 1)  # three videos of twenty equal frames
    column = Column(torch.arange(60) % 3, ("a", "b", "c"))
    task = dataclasses.replace(TASK, blocks="video")
    columns = {"video": column}
    blocked, plain = (each.measure(score(each, logits, masks), columns) for each in (task, TASK))
    one_frame = TASK.measure(score(TASK, logits[:3], masks[:3]), {})
    widths = [found.measures["mIoU"].high - found.measures["mIoU"].low for found in (blocked, plain, one_frame)]
    assert widths[0] == pytest.approx(widths[2])
    assert widths[0] > 2 * widths[1]
    assert "intervals draw whole blocks of images, 3 by video" in blocked.notes
    assert list(blocked.parts) == ["class"]
    assert plain.parts["video"]["a"].n == 20
    road = blocked.parts["class"]["road"]
    assert road.low < road.value < road.high


def test_measure__one_image_or_one_block__has_no_interval():
    logits, masks = draw(2)
    single = TASK.measure(score(TASK, logits[:1], masks[:1]), {}).measures["mIoU"]
    task = dataclasses.replace(TASK, blocks="video")
    column = Column(torch.zeros(2, dtype=torch.int64), ("a",))
    blocked = task.measure(score(task, logits, masks), {"video": column}).measures["mIoU"]
    assert (single.low, single.high, blocked.low, blocked.high) == (None,) * 4


def test_measure__group__is_the_measure_of_its_images():
    logits, masks = draw()
    column = Column(torch.tensor([0, 0, 1, 1, 1, 0, 1]), ("day", "night", "dusk"))
    found = TASK.measure(score(TASK, logits, masks), {"time": column})
    night = TASK.measure(score(TASK, logits[column.values == 1], masks[column.values == 1]), {})
    assert found.parts["time"]["night"][:2] == (4, pytest.approx(night.measures["mIoU"].value))
    assert found.parts["time"]["dusk"][:2] == (0, None)


def test_measure__no_known_pixel__is_refused():
    logits, masks = draw()
    with pytest.raises(DataError, match="pixels with a class to measure"):
        TASK.measure(score(TASK, logits, torch.full_like(masks, 255)), {})


def test_measure__outputs_that_are_not_finite__are_refused():
    logits, masks = draw()
    logits[1, 0, 3, 3] = torch.nan
    with pytest.raises(NonFiniteError, match="finite logits"):
        TASK.measure(score(TASK, logits, masks), {})


def test_score__logits_of_other_classes__are_refused():
    logits, masks = draw()
    with pytest.raises(ShapeError, match=r"logits of shape \(n, 4, height, width\)"):
        TASK.score(logits[:, :3], {"mask": masks})


def test_measure_weighted__whole_numbers__are_repeated_images():
    logits, masks = draw()
    weights = torch.tensor([1.0, 1, 1, 2, 2, 2, 2])
    cells = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    found = TASK.measure_weighted(score(TASK, logits, masks), weights, cells=cells)["mIoU"]
    times = weights.long()
    repeated = score(TASK, logits.repeat_interleave(times, 0), masks.repeat_interleave(times, 0))
    assert found.value == pytest.approx(TASK.measure(repeated, {}).measures["mIoU"].value)
    assert found.low < found.value < found.high


def test_confusion__pixels__rows_are_right_and_columns_given():
    logits, masks = draw()
    table = TASK.confusion(score(TASK, logits, masks))
    expected = np.zeros((4, 4), dtype=np.int64)
    for right, given in zip(masks.flatten().tolist(), logits.argmax(1).flatten().tolist(), strict=True):
        if right != 255:
            expected[right, given] += 1
    assert np.array_equal(table, expected)


def test_answers__logits__are_shares_and_an_image_of_numbers_with_colours():
    logits, _ = draw(2)
    answers = TASK.answers(logits)
    assert TASK.answer_columns() == ("share(road)", "share(sky)", "share(car)", "share(tram)")
    assert np.array_equal(answers[1].image, logits[1].argmax(0).numpy())
    assert answers[1].image.dtype == np.uint8
    shares = [float(cell) for cell in answers[1].cells]
    assert sum(shares) == pytest.approx(1)
    assert shares[0] == pytest.approx((logits[1].argmax(0) == 0).double().mean().item(), abs=1e-6)
    assert len(answers[1].palette) == 4


def test_encode_targets__uint8_masks__are_indicators():
    _, masks = draw(2)
    numbers = TASK.encode_targets({"mask": masks})
    assert numbers.values.shape == (2, 4, 6, 5)
    assert torch.equal(numbers.known[:, 0] == 0, masks == 255)
    assert torch.equal(numbers.values.sum(1), numbers.known[:, 0])


def test_palette__255_classes__are_255_different_colours_and_begin_alike():
    palettes = [Segmentation(tuple(map(str, range(n))), 3, 1, 1).palette for n in (3, 40, 255)]
    assert len(set(palettes[2])) == 255
    assert palettes[2][:40] == palettes[1]
    assert palettes[1][:3] == palettes[0]
    assert (255, 255, 255) not in palettes[2]  # what pixels to ignore have
