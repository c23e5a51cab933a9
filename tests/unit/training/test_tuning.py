"""What ``tuning`` does to a stage, in runs of a few steps."""

import shutil
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError
from auxo.files.tensor_file import read_tensor_file
from auxo.interfaces import TrainState
from auxo.losses import CrossEntropy, Focal
from auxo.methods.bissl import BiSSL
from auxo.methods.linear_probe import LinearProbe
from auxo.methods.maxl import MAXL
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig, TuningConfig
from auxo.runs import Networks
from auxo.runs.document import config_digest, from_json, to_json
from auxo.runs.experiment import StageConfig, Transfer
from auxo.runs.history import RunHistory
from auxo.runs.selection import SelectionRule
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.training.average import WeightAverage
from auxo.training.tuning import count_parts, scale_backbone_rates, update_in_parts
from auxo.types import Batch

from .run_here import make_config, rows, train, weights_of

TASK = Classification(("a", "b"), channels=3, height=28, width=28)
RUNTIME = Runtime(RuntimeConfig(device="cpu"), torch.device("cpu"))
PLAIN = OptimizerConfig(lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0, schedule="constant")


def make_method(config):
    return config.build(Networks(BackboneConfig(name="lenet5"), TASK, seed=0)).train()


def test_scale_backbone_rates__decay_and_rate__heads_keep_theirs():
    method = make_method(Supervised.Config(optimizer=PLAIN))
    optimizers = method.optimizers()
    scale_backbone_rates(method, optimizers, TuningConfig(backbone_rate=0.5, layer_decay=0.1))
    rates = {each: group["lr"] for group in optimizers["main"].param_groups for each in group["params"]}
    found = {name.rpartition(".")[0]: rates[each] for name, each in method.named_parameters()}
    places = ("backbone.convolution1", "backbone.convolution2", "backbone.linear1", "backbone.linear2", "semantic")
    assert found == pytest.approx(dict(zip(places, (5e-6, 5e-5, 5e-4, 5e-3, 0.1), strict=True)))


def test_stage__rates_of_a_backbone_that_never_trains__are_refused_with_the_option():
    with pytest.raises(
        ConfigError, match=r"tuning\.layer-decay.* 1\.0 with linear_probe, because the backbone is never"
    ):
        make_config(StageConfig(method=LinearProbe.Config(), tuning=TuningConfig(layer_decay=0.5)))
    with pytest.raises(ConfigError, match=r"tuning\.backbone-rate.*because a second level"):
        make_config(StageConfig(method=MAXL.Config.tiny(), tuning=TuningConfig(backbone_rate=0.5)))


def test_config_digest__default_tuning__is_that_of_runs_from_before():
    plain = make_config(StageConfig(method=Supervised.Config(), epochs=2))
    tuned = make_config(StageConfig(method=Supervised.Config(), epochs=2, tuning=TuningConfig(layer_decay=0.5)))
    assert config_digest(plain) == "51c15c65476df845"
    assert config_digest(tuned) != config_digest(plain)
    assert from_json(to_json(tuned), origin="config.json") == tuned


def test_update_in_parts__uneven_parts__step_is_that_of_the_mean_over_all_images():
    """Against a step by hand: mean cross-entropy of ten images, in parts of 3, 3 and 4."""
    method = make_method(Supervised.Config(optimizer=PLAIN))
    images, labels = torch.randn(10, 3, 28, 28, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 2
    loss = functional.cross_entropy(method.head_logits(images)["semantic"], labels)
    named = dict(method.named_parameters())
    expected = {
        name: value.detach() - 0.1 * gradient
        for (name, value), gradient in zip(named.items(), torch.autograd.grad(loss, [*named.values()]), strict=True)
    }
    batch = Batch(images, {"label": labels}, torch.arange(10))
    metrics = update_in_parts(method, TrainState(method.optimizers()), {"train": batch}, RUNTIME, count=3)
    assert metrics["classification_loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    for name, value in method.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name], atol=1e-6, rtol=1e-4)


def make_batch(count, joined, *, rank=0, processes=1):
    """A process's part of a batch without pixels."""
    first = joined * rank // processes
    return Batch(torch.zeros(count, 0, 0, 0), {}, torch.arange(count), first, joined, processes)


@pytest.mark.parametrize(
    ("joined", "accumulate", "expected"),
    [(12, 4, 4), (13, 4, 4), (9, 4, 3), (3, 4, 1), (1, 4, 1), (5, 1, 1), (12, 99, 12)],
)
def test_count_parts__one_process__no_part_is_larger_than_those_of_a_full_batch(joined, accumulate, expected):
    batches = {"train": make_batch(joined, joined), "wide": make_batch(4 * joined, 4 * joined)}
    assert count_parts(batches, {"train": max(12, joined), "wide": 4 * max(12, joined)}, accumulate) == expected


@pytest.mark.parametrize("joined", [8, 5, 3, 2])
def test_count_parts__two_processes_with_different_shares__the_same_in_both(joined):
    counts = [
        count_parts({"train": make_batch(size, joined, rank=rank, processes=2)}, {"train": 8}, 2)
        for rank, size in enumerate((joined - joined // 2, joined // 2))
    ]
    assert counts[0] == counts[1] <= joined // 2


def test_count_parts__view_of_fewer_images__has_one_in_each_part():
    assert count_parts({"train": make_batch(8, 8), "few": make_batch(2, 2)}, {"train": 8, "few": 2}, 4) == 2


def test_run__parts_of_one_image__batch_norm_over_one_pixel_is_named(tmp_path):
    stage = StageConfig(method=Supervised.Config(), epochs=1, batch_size=4, tuning=TuningConfig(accumulate=4))
    config = replace(make_config(stage), backbone=BackboneConfig(name="resnet18"))
    with pytest.raises(ConfigError, match=r"one image at step 1: pass a smaller --tuning\.accumulate"):
        train(config, tmp_path / "run")


def test_step__clipped__is_torchs_clipping_of_all_gradients_together():
    weights = [torch.nn.Parameter(torch.tensor([3.0])), torch.nn.Parameter(torch.tensor([4.0]))]
    optimizers = [PLAIN.build([each]) for each in weights]
    replace(RUNTIME, max_norm=1.0).step_together(optimizers, (weights[0] ** 2 + weights[1] ** 2).sum() / 2)
    assert [each.item() for each in weights] == pytest.approx([3 - 0.1 * 0.6, 4 - 0.1 * 0.8], rel=1e-5)
    small = torch.nn.Parameter(torch.tensor([0.5]))
    replace(RUNTIME, max_norm=1.0).step(PLAIN.build([small]), (small**2).sum() / 2)
    assert small.item() == pytest.approx(0.45)


def test_run__frozen_for_an_epoch_and_stopped_within_it__goes_on_to_the_same_bits(tmp_path):
    stage = StageConfig(
        method=Supervised.Config(optimizer=OptimizerConfig(lr=0.02)),
        epochs=2,
        batch_size=32,
        tuning=TuningConfig(freeze_epochs=1, clip_norm=0.5, accumulate=2, label_smoothing=0.1),
    )
    config = replace(make_config(stage, checkpoint_every=1, keep_checkpoints=9), backbone=BackboneConfig(name="conv4"))
    train(config, tmp_path / "whole")
    whole = weights_of(tmp_path / "whole" / "model.safetensors")
    folder = tmp_path / "whole" / "checkpoints"
    first, second, released = (weights_of(folder / f"train-0000000{step}.safetensors") for step in (1, 2, 4))
    for name in (name for name in first if name.startswith("backbone.") and "num_batches" not in name):
        assert torch.equal(first[name], second[name]), name
        assert not torch.equal(second[name], released[name]), name
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for path in (tmp_path / "again" / "checkpoints").iterdir():
        if path.name != "train-00000001.safetensors":
            path.unlink()
    (tmp_path / "again" / "model.safetensors").unlink()
    train(config, tmp_path / "again")
    again = weights_of(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in whole.items())
    ends = [rows(tmp_path / name, "end")[-1]["flops"] for name in ("whole", "again")]
    assert ends[0] == ends[1] > 0


def test_smoothed_labels__loss__is_the_cross_entropy_with_the_mixture():
    logits, labels = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), torch.arange(6) % 4
    mixed = 0.9 * functional.one_hot(labels, 4) + 0.1 / 4
    expected = -(mixed * logits.log_softmax(1)).sum(1)
    task = replace(TASK, class_names=("a", "b", "c", "d")).with_smoothing(0.1)
    torch.testing.assert_close(task.losses(logits, {"label": labels}), expected)
    assert "label_smoothing" not in task.to_record()
    loss = CrossEntropy().build((), smoothing=0.1)
    torch.testing.assert_close(loss(logits, labels, progress=0.0), expected)


@pytest.mark.parametrize(
    ("method", "tuning", "said"),
    [
        (Supervised.Config(class_loss=Focal()), TuningConfig(label_smoothing=0.1), "label-smoothing.*focal has no"),
        (OSSL.Config(), TuningConfig(accumulate=2), "accumulate.*1 with ossl, because it takes two steps"),
        (BiSSL.Config.tiny(), TuningConfig(clip_norm=1.0), "clip-norm.*method.clip-norm"),
    ],
)
def test_config__tuning_that_a_method_cannot_take__is_refused_with_the_reason(method, tuning, said):
    transfers = tuple(Transfer(stage="first", part="backbone", to=place) for place in method.inherited_parts)
    first = StageConfig(name="first", method=Supervised.Config(), epochs=1)
    with pytest.raises(ConfigError, match=said):
        make_config(first, StageConfig(name="second", method=method, tuning=tuning, epochs=2, transfers=transfers))


def test_average__three_steps__is_the_recurrence_with_its_warm_up():
    layer = torch.nn.BatchNorm1d(1)
    values = {}
    average = WeightAverage(layer, 0.15, values)
    average.begin()
    expected = 1.0
    for step, weight in enumerate((2.0, -1.0, 5.0)):
        layer.weight.data.fill_(weight)
        layer.running_mean.fill_(weight)
        average.follow(step)
        decay = min(0.15, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    assert values["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert set(values) == {"weight", "bias", "running_mean", "running_var"}
    with average.stand_in():
        assert layer.weight.item() == pytest.approx(expected, rel=1e-6)
    assert layer.weight.item() == 5.0


def averaged_stage(**selection):
    rule = SelectionRule(**selection)
    method = Supervised.Config(optimizer=OptimizerConfig(lr=0.02))
    return StageConfig(method=method, epochs=3, batch_size=32, tuning=TuningConfig(ema_decay=0.9), selection=rule)


def test_run__averaged_and_interrupted__saves_the_average_and_goes_on_to_the_same_bits(tmp_path):
    config = make_config(averaged_stage(), keep_checkpoints=9)
    train(config, tmp_path / "whole")
    folder = tmp_path / "whole" / "checkpoints"
    last = read_tensor_file(folder / "train-00000006.safetensors").tree
    model = weights_of(tmp_path / "whole" / "model.safetensors")
    for name, value in last["averaged"].items():
        assert torch.equal(model[name], value)
        assert not torch.equal(model[name], last["weights"][name])
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for path in (tmp_path / "again" / "checkpoints").iterdir():
        if path.name != "train-00000004.safetensors":
            path.unlink()
    train(config, tmp_path / "again")
    again = weights_of(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in model.items())


def test_run__averaged_and_selected__keeps_the_average_that_was_measured(tmp_path):
    result, _ = train(make_config(averaged_stage(keep="best")), tmp_path / "run")
    best = rows(tmp_path / "run", "end")[-1]["selection"]
    measured = [row for row in rows(tmp_path / "run", "evaluation") if row["epoch"] == best["epoch"]]
    final = next(row for row in result.rows if row.split == "val")
    assert final.measures["nll"].value == pytest.approx(measured[0]["measures"]["nll"]["value"], rel=1e-6)


def test_run__validation_no_better__stops_after_its_patience_and_says_so(tmp_path):
    stage = StageConfig(
        method=Supervised.Config(optimizer=OptimizerConfig(lr=1e-30, weight_decay=0.0)),
        epochs=9,
        batch_size=32,
        tuning=TuningConfig(patience=2),
        selection=SelectionRule(keep="best"),
    )
    _, watcher = train(make_config(stage), tmp_path / "run")
    assert watcher.epochs == [1, 2, 3]
    said = "stage train stopped after epoch 3 of 9"
    assert [stop.describe() for stop in RunHistory.read(tmp_path / "run").early_stops()] == [
        f"{said}: val became no better"
    ]
    assert said in (tmp_path / "run" / "report.md").read_text().lower()
    assert {row["epoch"] for row in rows(tmp_path / "run", "result")} == {3}
    train(make_config(stage), tmp_path / "run")
    assert len(RunHistory.read(tmp_path / "run").early_stops()) == 1


def test_config__patience_without_selection__is_refused():
    with pytest.raises(ConfigError, match=r"tuning\.patience.*selection\.keep best"):
        make_config(StageConfig(method=Supervised.Config(), tuning=TuningConfig(patience=2)))
