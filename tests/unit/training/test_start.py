"""The start of a stage: what a method makes of its images, and what the steps see of it."""

from dataclasses import dataclass, replace

import pytest
import torch

from auxo.errors import ConfigError
from auxo.interfaces import Prepared, View
from auxo.methods.supervised import Supervised
from auxo.runs.experiment import StageConfig
from auxo.runs.selection import SelectionRule
from auxo.tasks import Measure

from .run_here import make_config, make_splits, rows, run_here

SEEN = []
STARTS = []
MADE = {}


class Starting(Supervised):
    """Returns what a test says at the start of a stage, and notes what its steps see."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

        def required_views(self):
            return {"train": View(), "any": View("images")}

    def begin(self, start):
        STARTS.append(start)
        return MADE["prepared"](start)

    def update(self, state, batches, runtime):
        SEEN.append((state.prepared, batches))
        return super().update(state, batches, runtime)


class Headless(Starting):
    """Without a head that predicts, but with a measure of its own."""

    head_names = ()

    @dataclass(frozen=True, kw_only=True)
    class Config(Starting.Config):
        """The same options."""

    def head_logits(self, images):
        return {}

    def measures(self, images):
        return {"mean_feature": Measure(float(images.features().mean()), unit="", higher_is_better=False)}


class Clashing(Supervised):
    """Has a measure of the task's name."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

    def measures(self, images):
        return {"nll": Measure(0.5)}


@pytest.fixture(autouse=True)
def fresh():
    SEEN.clear()
    STARTS.clear()
    MADE["prepared"] = lambda start: Prepared()


def run(folder, method=None, augment="none", **stage):
    stage = StageConfig(method=method or Starting.Config(), epochs=1, batch_size=32, **stage)
    config = make_config(stage)
    run_here(replace(config, data=replace(config.data, augment=augment)), folder, make_splits())


def test_begin__targets_of_each_image__come_with_the_images_in_every_view(tmp_path):
    values = torch.arange(64) * 10
    MADE["prepared"] = lambda start: Prepared(
        tensors={"centre": torch.tensor([2.5])}, targets={"train": {"tenfold": values}}
    )
    run(tmp_path / "run")
    for prepared, batches in SEEN:
        assert prepared["centre"].tolist() == [2.5]
        assert all(torch.equal(batch.targets["tenfold"], 10 * batch.indices) for batch in batches.values())
        assert bool((batches["any"].labels == -1).all())  # the task's own stays hidden there


def test_begin__maps__move_with_the_images(tmp_path):
    pixels = make_splits().train.source.images[:, 0].long()
    MADE["prepared"] = lambda start: Prepared(targets={"train": {"red": pixels}}, fills={"red": 0})
    run(tmp_path / "run", augment="crop_flip")
    moved = 0
    for _, batches in SEEN:
        batch = batches["train"]
        images = batch.normalisation.to_pixels(batch.images)[:, 0].mul(255).round().long()
        assert torch.equal(images, batch.targets["red"])
        moved += int((batch.targets["red"] != pixels[batch.indices]).any())
    assert moved


def test_begin__start__has_the_images_that_train_and_their_targets_and_nothing_that_judges(tmp_path):
    run(tmp_path / "run")
    (start,) = STARTS
    assert list(start.images) == ["train"]
    images, source = start.images["train"], make_splits().train.source
    assert len(images) == 64
    assert torch.equal(images.targets["label"], source.columns["label"].values)
    assert torch.equal(images.pixels(torch.tensor([3, 1])), source.images[[3, 1]])
    assert start.generator("a").initial_seed() == start.generator("a").initial_seed()
    assert start.generator("a").initial_seed() != start.generator("b").initial_seed()


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ({"val": {"group": torch.zeros(32)}}, "targets of train from begin, got 'val'"),
        ({"train": {"label": torch.zeros(64)}}, "a new name of a target from begin, got 'label'"),
        ({"train": {"group": torch.zeros(63)}}, r"each of the 64 images of train from begin, got the shape \(63,\)"),
    ],
)
def test_begin__targets_that_do_not_fit__are_refused_in_one_line(targets, says, tmp_path):
    MADE["prepared"] = lambda start: Prepared(targets=targets)
    with pytest.raises(ConfigError, match=says) as caught:
        run(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_begin__that_changes_weights__is_refused_as_a_run_that_goes_on_would_not_have_them(tmp_path, monkeypatch):
    def change(self, start):
        with torch.no_grad():
            self.semantic.weight.add_(1)
        return Prepared()

    monkeypatch.setattr(Starting, "begin", change)
    says = "weights that begin leaves as they are, got a change of semantic.weight: .* step 0 from state.prepared"
    with pytest.raises(ConfigError, match=says):
        run(tmp_path / "run")


def test_begin__operations_and_seconds__count_as_compute(tmp_path):
    def prepare(start):
        start.images["train"].features()
        return Prepared()

    MADE["prepared"] = prepare
    run(tmp_path / "with")
    MADE["prepared"] = lambda start: Prepared()
    run(tmp_path / "without")
    (dear,), (cheap,) = (rows(tmp_path / name, "end") for name in ("with", "without"))
    assert dear["flops"] > cheap["flops"] > 0


def test_measures__method_without_a_head__have_a_row_of_their_own_that_selection_rests_on(tmp_path):
    run(tmp_path / "run", Headless.Config(), selection=SelectionRule(keep="best"))
    (end,) = rows(tmp_path / "run", "end")
    assert (end["selection"]["head"], end["selection"]["measure"]) == ("method", "mean_feature")
    assert {row["head_kind"] for row in rows(tmp_path / "run", "result")} == {"method"}
    assert "method" in (tmp_path / "run" / "report.md").read_text()


def test_measures__of_the_name_of_one_of_the_tasks__are_refused(tmp_path):
    with pytest.raises(ConfigError, match="measures of a method's own, got 'nll', which the task has"):
        run(tmp_path / "run", Clashing.Config())
