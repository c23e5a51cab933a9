"""What a method sees at every step: the views it asks for, of images fetched once."""

from dataclasses import dataclass, replace

import pytest
import torch

from auxo.data import (
    Balanced,
    InMemorySource,
    Loader,
    MetaSplit,
    Shuffled,
    Splits,
    Stratified,
    TrainSplit,
    UnlabelledSplit,
    ValSplit,
)
from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.errors import CheckpointError, ConfigError
from auxo.files.tensor_file import read_tensor_file
from auxo.interfaces import StepPlan, View
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.random import derive_seed
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig, Transfer
from auxo.runs.records import read_records
from auxo.runtime import RuntimeConfig
from auxo.types import Column

from .run_here import run_here

SEEN = []
VIEWS = {}
ONE_THREAD = RuntimeConfig(device="cpu", threads=1)


class Looker(Supervised):
    """Trains on the view ``train``, else on the first as if it were of one class, and notes what it is shown."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

        def required_views(self):
            return VIEWS

    def update(self, state, batches, runtime):
        SEEN.append(batches)
        batch = next(iter(batches.values())) if "train" not in batches else batches["train"]
        return super().update(state, {"train": replace(batch, targets={"label": batch.labels.clamp(min=0)})}, runtime)


def make_splits(num_unlabelled=40, **others):
    source = oriented_shapes(120, size=28, seed=0)
    train, val, rest, meta = (
        source.subset(torch.arange(first, last), name)
        for name, first, last in (("a", 0, 32), ("b", 32, 48), ("c", 48, 48 + num_unlabelled), ("d", 108, 120))
    )
    unlabelled = UnlabelledSplit(rest.without_targets(["label"], "c")) if num_unlabelled else None
    return Splits(TrainSplit(train), ValSplit(val), None, meta=MetaSplit(meta), unlabelled=unlabelled, **others)


def look(views, folder, *, splits=None, augment="crop", epochs=2, batch_size=16, **options):
    """Train with these views and return what was shown."""
    SEEN.clear()
    VIEWS.clear()
    VIEWS.update(views)
    stage = StageConfig(method=Looker.Config(), epochs=epochs, batch_size=batch_size, **options)
    config = ExperimentConfig(
        stages=(stage,),
        data=DataConfig(augment=augment),
        training=TrainingConfig(tensorboard=False, log_every=1),
        runtime=RuntimeConfig(device="cpu", precision="float32"),
    )
    run_here(config, folder, splits or make_splits())
    return list(SEEN)


@pytest.fixture
def fetched(monkeypatch):
    """The name of the source and the number of images of everything that is fetched."""
    calls, fetch = [], InMemorySource.fetch

    def counting(self, indices):
        calls.append((self.name, len(indices)))
        return fetch(self, indices)

    monkeypatch.setattr(InMemorySource, "fetch", counting)
    return calls


def test_views__default__is_the_training_batch_of_the_loader_with_the_stream_of_its_name(tmp_path):
    shown = look({"train": View()}, tmp_path / "run")
    stage_seed = derive_seed(0, "stage", "train")
    splits = make_splits()
    loader = Loader(splits.train.source, batch_size=16, seed=derive_seed(stage_seed, "loader", "train"))
    for batches, expected in zip(shown, loader.batches(range(4)), strict=True):
        assert batches.keys() == {"train"}
        assert torch.equal(batches["train"].indices, expected.indices)


def test_views__of_one_split_and_ratio__show_the_same_images_under_other_draws(tmp_path):
    views = {"train": View(), "first": View("unlabelled", "strong", 2), "second": View("unlabelled", "strong", 2)}
    for batches in look(views, tmp_path / "run"):
        first, second = batches["first"], batches["second"]
        assert torch.equal(first.indices, second.indices)
        assert not torch.equal(first.images, second.images)
        assert first.normalisation is not None


def test_views__images_of_one_split__are_fetched_once(tmp_path, fetched):
    splits = make_splits()
    views = {name: View("unlabelled") for name in ("first", "second", "third")}
    look({"train": View(), **views}, tmp_path / "run", splits=splits, epochs=1)
    assert [size for name, size in fetched if name == "c"] == [16, 16]


def test_views__names__have_streams_of_their_own_that_no_other_view_shifts(tmp_path):
    alone = look({"train": View(), "first": View("unlabelled")}, tmp_path / "alone")
    views = {"zeroth": View("unlabelled"), "first": View("unlabelled"), "train": View(augment="crop")}
    together = look(views, tmp_path / "together")
    for ours, theirs in zip(alone, together, strict=True):
        assert torch.equal(ours["first"].images, theirs["first"].images)
        assert torch.equal(ours["train"].images, theirs["train"].images)
        assert not torch.equal(theirs["zeroth"].images, theirs["first"].images)


def test_views__ratio__gives_so_many_images_and_new_orders_for_every_pass(tmp_path):
    shown = look({"train": View(), "all": View("unlabelled", "none", 2)}, tmp_path / "run", epochs=3)
    assert [len(batches["train"]) for batches in shown] == [16, 16] * 3
    assert [len(batches["all"]) for batches in shown] == [32, 8] * 3
    passes = [torch.cat([shown[i]["all"].indices, shown[i + 1]["all"].indices]) for i in (0, 2, 4)]
    assert all(sorted(indices.tolist()) == list(range(40)) for indices in passes)
    assert len({tuple(indices.tolist()) for indices in passes}) == 3


def test_views__of_the_unlabelled_split__have_the_label_minus_one(tmp_path):
    shown = look({"train": View(), "all": View("unlabelled")}, tmp_path / "run")
    assert all((batches["all"].labels == -1).all() for batches in shown)
    assert all((batches["train"].labels >= 0).all() for batches in shown)


@pytest.mark.parametrize(
    ("views", "images"),
    [
        ({"train": View()}, 64),
        ({"train": View(), "meta": View("meta")}, 64),
        ({"train": View(), "weak": View("unlabelled"), "strong": View("unlabelled", "strong")}, 64 + 4 * 16 - 8),
        ({"first": View("unlabelled"), "second": View("unlabelled")}, 2 * 40),
    ],
    ids=["train", "meta", "unlabelled", "no training view"],
)
def test_views__images_of_a_run__count_once_each_and_meta_not_at_all(tmp_path, views, images):
    look(views, tmp_path / "run")
    (end,) = [row for row in read_records(tmp_path / "run" / "records.jsonl") if row["kind"] == "end"]
    passed = 32 if "train" in views else 40  # an epoch is a pass over these
    assert (end["images"], end["step"]) == (images, 2 * -(-passed // 16))


@pytest.mark.parametrize(
    ("view", "splits", "message"),
    [
        (View("unlabelled"), make_splits(0), "an unlabelled split for this method, got none: pass --data.num-labelled"),
        (View("meta"), Splits(make_splits().train, make_splits().val, None), "a meta split for this method, got none"),
        (View(augment="stronger"), None, "an augmentation among none, crop, .*, got 'stronger'"),
    ],
    ids=["unlabelled", "meta", "augment"],
)
def test_views__what_is_not_there__is_refused_before_anything_is_written(tmp_path, view, splits, message):
    with pytest.raises(ConfigError, match=message):
        look({"train": View(), "other": view}, tmp_path / "run", splits=splits)
    assert not (tmp_path / "run").exists()


def make_grouped():
    """Splits of which each has the column background, in the meta split three times as often land as water."""
    source = oriented_shapes(300, size=28, seed=0)
    train, val, meta = (
        source.subset(torch.arange(first, last), name)
        for name, first, last in (("a", 0, 128), ("b", 128, 200), ("c", 200, 300))
    )

    def with_background(part):
        values = (torch.arange(len(part)) // 4 % 4 == 0).long()
        return part.with_columns({**part.columns, "background": Column(values, ("land", "water"))})

    train, val, meta = map(with_background, (train, val, meta))
    return Splits(TrainSplit(train), ValSplit(val), None, meta=MetaSplit(meta))


@pytest.mark.parametrize("size", [{"batch_size": 50}, {"ratio": 50 / 64}], ids=["batch size", "ratio"])
def test_views__balanced_50_beside_64__draw_every_group_equally_often(tmp_path, size):
    views = {"train": View(), "meta": View("meta", order=Balanced(("label", "background")), **size)}
    shown = look(views, tmp_path / "run", splits=make_grouped(), epochs=4, batch_size=64)
    assert [(len(batches["train"]), len(batches["meta"])) for batches in shown] == [(64, 50)] * 8
    for first, second in zip(shown[::2], shown[1::2], strict=True):  # a pass over the meta split each
        drawn = [batches["meta"].targets for batches in (first, second)]
        groups = torch.cat([2 * targets["label"] + targets["background"] for targets in drawn])
        counts = groups.bincount(minlength=8)
        assert (int(counts.sum()), int(counts.max() - counts.min())) == (100, 1)
    own = torch.cat([batches["meta"].indices for batches in shown])
    assert set(own.tolist()) == set(range(100))  # rare and frequent ones


def test_views__balanced_order__leaves_the_training_batches_as_they_are(tmp_path):
    meta = View("meta", order=Balanced(("label", "background")), batch_size=50)
    alone = look({"train": View()}, tmp_path / "alone", splits=make_grouped(), batch_size=64)
    together = look({"train": View(), "meta": meta}, tmp_path / "together", splits=make_grouped(), batch_size=64)
    for ours, theirs in zip(alone, together, strict=True):
        assert torch.equal(ours["train"].images, theirs["train"].images)


def test_views__stratified__have_the_proportions_of_the_split_in_every_batch(tmp_path):
    views = {"train": View(order=Stratified("background"))}
    shown = look(views, tmp_path / "run", splits=make_grouped(), batch_size=16)
    assert all(3 <= int(batches["train"].targets["background"].sum()) <= 5 for batches in shown)


def test_views__without_images__tell_targets_of_the_same_images_and_fetch_none(tmp_path, fetched):
    splits = make_grouped()
    bare = View("meta", images=False)
    shown = look({"train": View(), "bare": bare}, tmp_path / "run", splits=splits, batch_size=64)
    assert "c" not in {name for name, _ in fetched}
    meta = splits.meta.source
    for batches in shown:
        batch = batches["bare"]
        assert (batch.images.shape, batch.images.dtype) == ((len(batch), 0, 0, 0), torch.uint8)
        assert batch.normalisation is None
        assert torch.equal(batch.labels, meta.columns["label"].values[batch.indices])
    images = look({"train": View(), "bare": View("meta")}, tmp_path / "images", splits=splits, batch_size=64)
    for ours, theirs in zip(shown, images, strict=True):
        assert torch.equal(ours["bare"].indices, theirs["bare"].indices)


def test_views__that_fetch_the_same__share_a_batch_whatever_they_call_it(tmp_path, fetched):
    splits = make_splits()
    same = [View("unlabelled"), View("unlabelled", batch_size=16), View("unlabelled", order=Shuffled())]
    others = [View("unlabelled", stream="own"), View("unlabelled", batch_size=15)]
    views = {str(number): view for number, view in enumerate(same + others)}
    shown = look({"train": View(), **views}, tmp_path / "run", splits=splits, epochs=1)
    assert [size for name, size in fetched if name == "c"] == [16, 16, 15] * 2
    assert torch.equal(shown[0]["0"].indices, shown[0]["2"].indices)
    assert not torch.equal(shown[0]["0"].indices, shown[0]["3"].indices)


def test_views__of_pictures__hide_the_targets_of_the_task_only(tmp_path):
    splits = make_grouped()
    shown = look({"train": View(), "all": View("images")}, tmp_path / "run", splits=splits, batch_size=64)
    background = splits.train.source.columns["background"].values
    for batches in shown:
        assert (batches["all"].labels == -1).all()
        assert torch.equal(batches["all"].targets["background"], background[batches["all"].indices])


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (View("meta", order=Balanced(("colour",))), "got 'colour' where there are label, background: name another"),
        (View("images", order=Balanced()), "got 'label' where there are background: name another"),
        (View("images", order=Stratified()), "got 'label' where there are background: name another"),
    ],
    ids=["missing", "hidden", "stratified"],
)
def test_views__ordered_by_what_is_not_known__are_refused_before_anything_is_written(tmp_path, view, message):
    with pytest.raises(ConfigError, match=f"a known column to order images by, {message}") as caught:
        look({"train": View(), "other": view}, tmp_path / "run", splits=make_grouped())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


class Turns(Looker):
    """Reads other views at odd steps, of which pairs share a batch."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

        def required_views(self):
            return {"train": View(), "pair": View("images", ratio=2, stream="own")}

        def plan(self, step, passes):
            even = StepPlan({"train": step // 2}, ("main",), "even")
            return StepPlan({"train": 100 + step // 2, "pair": step // 4}, (), "odd") if step % 2 else even

        def steps_per_epoch(self, passes):
            return 2 * passes["train"]


def test_plan__steps_of_two_kinds__read_what_is_planned_and_move_only_its_rates(tmp_path):
    SEEN.clear()
    optimizer = OptimizerConfig(schedule="cosine", moves="step")
    stage = StageConfig(method=Turns.Config(optimizer=optimizer), epochs=2, batch_size=16)
    training = TrainingConfig(tensorboard=False, log_every=1)
    config = ExperimentConfig(stages=(stage,), training=training, runtime=ONE_THREAD)
    run_here(config, tmp_path / "run", make_splits())
    assert [list(shown) for shown in SEEN] == [["train"], ["train", "pair"]] * 4
    pairs = [shown["pair"] for shown in SEEN[1::2]]
    assert torch.equal(pairs[0].images, pairs[1].images)
    assert not torch.equal(pairs[1].images, pairs[2].images)
    assert all((pair.labels == -1).all() for pair in pairs)
    assert [len(pair) for pair in pairs] == [32, 32, 8, 8]
    rows = list(read_records(tmp_path / "run" / "records.jsonl"))
    rates = [row["lr"]["main"] for row in rows if row["kind"] == "losses"]
    assert rates[1::2] == rates[2::2] + [rates[-1]]  # an odd step leaves the rate to the next even one
    assert rates[0::2] == pytest.approx([0.01, 0.01 * 0.8535533906, 0.005, 0.01 * 0.1464466094])
    (end,) = (row for row in rows if row["kind"] == "end")
    assert end["images"] == 8 * 16 + 32 + 8


def test_transfers__parts_of_two_stages__become_parts_of_a_third(tmp_path):
    first, second = Supervised.Config(), Supervised.Config()
    transfers = (
        Transfer(stage="a", part="backbone", to="backbone"),
        Transfer(stage="b", part="semantic", to="semantic"),
    )
    frozen = Supervised.Config(optimizer=OptimizerConfig(lr=1e-30, nesterov=False, weight_decay=0.0))
    config = ExperimentConfig(
        stages=(
            StageConfig(name="a", method=first, epochs=1, batch_size=16),
            StageConfig(name="b", method=second, epochs=1, batch_size=8),
            StageConfig(name="c", method=frozen, epochs=1, batch_size=16, transfers=transfers),
        ),
        training=TrainingConfig(tensorboard=False),
        runtime=ONE_THREAD,
    )
    folder = tmp_path / "run"
    run_here(config, folder, make_splits())
    ends = {
        name: read_tensor_file(folder / "checkpoints" / f"{name}-final.safetensors")[0]["weights"] for name in "abc"
    }
    for name, tensor in ends["c"].items():
        assert torch.equal(tensor, ends["a" if name.startswith("backbone") else "b"][name]), name
    assert not torch.equal(ends["a"]["semantic.weight"], ends["b"]["semantic.weight"])


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        (Transfer(stage="a", part="neck", to="backbone"), "none called 'neck' in .*: name one of backbone, semantic"),
        (Transfer(stage="a", part="backbone", to="neck"), "none called 'neck' to start from it"),
        (Transfer(stage="a", part="backbone", to="semantic"), "the weights of this method and backbone"),
    ],
)
def test_transfers__of_what_is_not_there__are_refused(tmp_path, transfer, message):
    method = Supervised.Config()
    stages = (
        StageConfig(name="a", method=method, epochs=1),
        StageConfig(name="b", method=method, transfers=(transfer,)),
    )
    config = ExperimentConfig(stages=stages, training=TrainingConfig(tensorboard=False), runtime=ONE_THREAD)
    with pytest.raises(CheckpointError, match=message):
        run_here(config, tmp_path / "r", make_splits())


def test_stage__transfers_from_a_later_stage_or_beside_start_from__are_refused():
    method, transfer = Supervised.Config(), Transfer(stage="b", part="backbone", to="backbone")
    stages = (StageConfig(name="a", method=method, transfers=(transfer,)), StageConfig(name="b", method=method))
    with pytest.raises(ConfigError, match="start-from one of: scratch, got 'b'"):
        ExperimentConfig(stages=stages)
    with pytest.raises(ConfigError, match="both in stage c"):
        StageConfig(name="c", method=method, start_from="a", transfers=(transfer,))
