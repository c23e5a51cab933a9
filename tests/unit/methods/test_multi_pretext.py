"""Encoders that stay, and a fusion that learns: what moves, what is kept, what is refused."""

import itertools
from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, PlaceMap, TrainSplit
from auxo.data.fake import oriented_shapes
from auxo.errors import CheckpointError, ConfigError, OptionError
from auxo.evaluation import Reader
from auxo.evaluation.images import FeatureCache
from auxo.interfaces import StageStart, TrainState
from auxo.methods.multi_pretext import FineTuningConfig, MultiPretext, place_of
from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.fusions.best_single import BestSingle
from auxo.pretexts.fusions.feature_matching import FeatureMatching
from auxo.runs import Networks
from auxo.runs.networks import Kept
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Normalisation

SIDE = 16
RUNTIME = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
TINY = MultiPretext.Config.tiny()
TUNED = replace(TINY, features="online", tune=FineTuningConfig(is_on=True, after_epochs=1, anchor=0.5))


@pytest.fixture(scope="module")
def source():
    return oriented_shapes(24, size=SIDE, seed=5)


@pytest.fixture(scope="module")
def pipeline(source):
    return InputPipeline.from_source(source)


def make(source, config=TINY, *, side=SIDE, kept=None, seed=0):
    task = Classification(source.vocabulary["label"], 3, side, side, class_counts=(6, 6, 6, 6))
    given = Normalisation(torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.25))
    networks = Networks(BackboneConfig(name="resnet8"), task, seed=seed, given=given, kept=kept)
    return config.build(networks).train()


def read(method, source, pipeline, cache=None):
    reader = Reader(method=method, pipeline=pipeline, runtime=RUNTIME, batch_size=24)
    return {"train": reader.images(TrainSplit(source), cache=cache)}


def begin(method, source, pipeline, cache=None):
    return method.begin(StageStart(read(method, source, pipeline, cache), 0, RUNTIME.device))


def batch_of(source, pipeline, places):
    return pipeline(Batch(source.fetch(places), source.fetch_targets(places), places), seed=None)


def take_steps(method, source, pipeline, count, *, prepared=None):
    places = torch.arange(24)
    state = TrainState(method.optimizers(), num_steps=count, prepared=prepared or {})
    batch = batch_of(source, pipeline, places)
    for state.step in range(count):
        state.kind = method.config.plan(state.step, {"train": 2}).kind
        metrics = method.update(state, {"train": batch}, RUNTIME)
    return metrics


def test_update__features_read_once__moves_the_fusion_and_leaves_the_encoders_to_the_bit(source, pipeline):
    method = make(source)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    take_steps(method, source, pipeline, 3, prepared=begin(method, source, pipeline).tensors)
    for name, tensor in method.state_dict().items():
        if name.startswith("backbone."):
            assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in method.backbone.parameters())
    assert not torch.equal(method.fusion.semantic.weight, before["fusion.semantic.weight"])


def test_update__features_read_once_and_at_every_step__learn_the_same_to_the_bit(source, pipeline):
    once, online = make(source), make(source, replace(TINY, features="online"))
    prepared = begin(once, source, pipeline).tensors
    take_steps(once, source, pipeline, 3, prepared=prepared)
    take_steps(online, source, pipeline, 3, prepared=begin(online, source, pipeline).tensors)
    for (name, ours), theirs in zip(once.state_dict().items(), online.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_logits__of_kept_features_in_batches_of_another_size__are_equal_but_for_rounding(source, pipeline):
    method = make(source)
    prepared = begin(method, source, pipeline).tensors
    take_steps(method, source, pipeline, 2, prepared=prepared)
    method.eval()
    with torch.no_grad():
        parts = method._standardise_parts(prepared["features"])
        kept = method.fusion(parts).logits
        whole = method.predict(batch_of(source, pipeline, torch.arange(24)).images)
        halves = [method.predict(batch_of(source, pipeline, torch.arange(24)[k::5]).images) for k in range(5)]
    assert torch.equal(kept, whole)
    for k, half in enumerate(halves):
        torch.testing.assert_close(half, kept[k::5], rtol=0, atol=1e-6)


def test_begin__standardised__training_features_have_mean_zero_and_deviation_one(source, pipeline):
    method = make(source)
    prepared = begin(method, source, pipeline).tensors
    method._take_prepared(prepared)
    rows = torch.cat([*method._standardise_parts(prepared["features"])], 1)
    torch.testing.assert_close(rows.mean(0), torch.zeros(128), atol=1e-5, rtol=0)
    spread = rows.std(0, correction=0)
    assert ((spread - 1).abs() < 1e-4).logical_or(spread == 0).all()


def test_begin__not_standardised_and_online__reads_nothing(source, pipeline):
    method = make(source, replace(TINY, standardise=False, features="online"))
    assert begin(method, source, pipeline).tensors == {}


def test_begin__best_single__keeps_scores_and_choice_for_the_first_step(source, pipeline):
    method = make(source, replace(TINY, fusion=BestSingle.Config()))
    prepared = begin(method, source, pipeline).tensors
    assert {"fusion.scores", "fusion.chosen"} < prepared.keys()
    take_steps(method, source, pipeline, 1, prepared=prepared)
    assert method.fusion.chosen == prepared["fusion.chosen"] == prepared["fusion.scores"].argmax()


def test_cache__of_features__is_per_encoder_and_told_and_mended_where_damaged(source, pipeline, tmp_path):
    method = make(source)
    first = begin(method, source, pipeline, FeatureCache(tmp_path, RUNTIME)).tensors["features"]
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    again = FeatureCache(tmp_path, RUNTIME)
    assert torch.equal(begin(method, source, pipeline, again).tensors["features"], first)
    assert (again.notes, again.spared > 0) == ([], True)
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-8] + bytes(8))
    damaged = FeatureCache(tmp_path, RUNTIME)
    assert torch.equal(begin(method, source, pipeline, damaged).tensors["features"], first)
    (note,) = damaged.notes
    assert "computed anew" in note
    assert str(files[0]) in note
    assert files[0].read_bytes() == whole


@pytest.mark.parametrize("changed", ["weights", "images", "preprocessing", "levels", "decoding"])
def test_cache__of_something_that_has_changed__is_not_used(source, pipeline, tmp_path, changed):
    begin(make(source), source, pipeline, FeatureCache(tmp_path, RUNTIME))
    config = replace(TINY, levels=("stage3",)) if changed == "levels" else TINY  # the same numbers under another name
    method = make(source, config)
    with torch.no_grad():
        if changed == "weights":
            method.backbone.members[0].network.convolution.weight[0, 0, 0, 0] += 1e-3
    images = oriented_shapes(24, size=SIDE, seed=6) if changed == "images" else source
    if changed == "decoding":  # of the same bytes: exactly, as beside masks
        places = PlaceMap(torch.zeros(len(source), SIDE, SIDE, dtype=torch.uint8), ("a", "b"))
        images = InMemorySource("x", source.images, source.columns, maps={"mask": places._replace(ignore=255)})
        assert images.content_hashes() == source.content_hashes()
    normalised = InputPipeline.from_source(oriented_shapes(24, size=SIDE, seed=7))
    begin(method, images, normalised if changed == "preprocessing" else pipeline, FeatureCache(tmp_path, RUNTIME))
    assert len([*tmp_path.iterdir()]) == (3 if changed == "weights" else 4)


def test_tuned__after_the_warm_up__encoders_move_at_their_own_rate_and_statistics_stay(source, pipeline):
    method = make(source, TUNED)
    rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in method.optimizers().items()}
    assert rates["encoders"] == pytest.approx(0.1 * rates["main"])
    prepared = begin(method, source, pipeline).tensors
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    assert "anchor_loss" not in take_steps(method, source, pipeline, 2, prepared=prepared)
    assert torch.equal(
        method.backbone.members[0].network.convolution.weight, before[f"{place_of('first')}.convolution.weight"]
    )
    metrics = take_steps(method, source, pipeline, 4, prepared=prepared)
    apart = sum(
        (parameter.detach() - before[f"backbone.{name}"]).square().sum()
        for name, parameter in method.backbone.named_parameters()
    )
    assert apart > 0
    assert 0 < metrics["anchor_loss"] < 0.5 * apart  # of the step before
    for name, tensor in method.backbone.named_buffers():
        assert torch.equal(tensor, before[f"backbone.{name}"]), name


def write_encoder(path, source, *, name="resnet8", side=SIDE, channels=3):
    from safetensors.torch import save_file

    task = Classification(source.vocabulary["label"], channels, side, side)
    network = BackboneConfig(name=name).build(task, seed=9)
    tensors = {f"weights.backbone.{key}": tensor for key, tensor in network.state_dict().items()}
    tensors |= {"pipeline.mean": torch.full((channels,), 0.4), "pipeline.std": torch.full((channels,), 0.3)}
    save_file(tensors, path)
    return network.eval()


def test_loaded__from_a_file__is_renormalised_kept_once_and_read_again_without_the_file(source, tmp_path):
    path = tmp_path / "mine.safetensors"
    network = write_encoder(path, source)
    config = MultiPretext.Config(encoders=(str(path), f"other={path}"))
    method = make(source, config)
    images = torch.rand(4, 3, SIDE, SIDE)
    found = method.backbone((images - 0.5) / 0.25).pooled
    torch.testing.assert_close(found[:, :64], network((images - 0.4) / 0.3).pooled)
    assert method.names == ("mine", "other")
    kept = {
        name: Kept(
            {"source": str(path), "backbone": {"name": "resnet8"}, "mean": [0.4] * 3, "std": [0.3] * 3},
            network.state_dict(),
        )
        for name in method.names
    }
    path.unlink()
    assert torch.equal(make(source, config, kept=kept).backbone((images - 0.5) / 0.25).pooled, found)


def test_loaded__and_tuned__is_a_copy_that_is_trained(source, tmp_path, pipeline):
    path = tmp_path / "mine.safetensors"
    write_encoder(path, source)
    method = make(
        source, replace(TUNED, trained=(), encoders=(str(path),), tune=FineTuningConfig(is_on=True, after_epochs=0))
    )
    before = method.backbone.members[0].network.network.convolution.weight.clone()
    take_steps(method, source, pipeline, 1)
    assert not torch.equal(method.backbone.members[0].network.network.convolution.weight, before)


def test_random__encoders__are_unlike_each_other_and_stay(source):
    method = make(source, replace(TINY, random=2))
    assert method.names == ("first", "second", "random_1", "random_2")
    weights = [encoder.network.convolution.weight for encoder in method.backbone.members]
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(weights))


def test_matching__trains_the_run_s_own_network__and_predicts_without_the_encoders(source, pipeline):
    method = make(source, replace(TINY, fusion=FeatureMatching.Config()))
    before = method.own.convolution.weight.clone()
    take_steps(method, source, pipeline, 1, prepared=begin(method, source, pipeline).tensors)
    assert not torch.equal(method.own.convolution.weight, before)
    assert method.predicting_backbone is method.own
    method.eval()
    images = torch.randn(2, 3, SIDE, SIDE)
    torch.testing.assert_close(method.predict(images), method.fusion.semantic(method.own(images).pooled))
    assert method.image_values(images) == {}
    assert method.exhibits({}) == ()


def test_image_values__of_heads_and_levels__are_their_means_and_sum_to_one(source):
    method = make(source, replace(TINY, fusion=Attention.Config(heads=2), levels=("stage2", "pooled"))).eval()
    values = method.image_values(torch.randn(5, 3, SIDE, SIDE))
    assert list(values) == ["attention_first", "attention_second"]
    torch.testing.assert_close(torch.stack([*values.values()]).sum(0), torch.ones(5))


def test_metrics__of_a_step__tell_mean_attention_and_its_entropy(source, pipeline):
    metrics = take_steps(make(source), source, pipeline, 1)
    assert metrics["attention_first"] == metrics["attention_second"] == 0.5
    assert metrics["attention_entropy"].item() == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (("runs/one", "timm:resnet18.a1_in1k", "hf:microsoft/resnet-50"), ["one", "resnet18_a1_in1k", "resnet_50"]),
        (("a/model.safetensors", "b/best.safetensors"), ["a", "best"]),
        (("mine=runs/7", "runs/7"), ["mine", "encoder_7"]),
    ],
)
def test_names__of_sources__are_words(sources, names):
    assert list(MultiPretext.Config(encoders=sources).name_encoders()) == names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "encoders of one or more, got none"),
        ({"random": 2}, "encoders of one or more, got none"),
        ({"encoders": ("runs/a", "other/a")}, "encoders of different names, got two called a"),
        ({"trained": ("train",)}, "names of encoders that are words of their own, got 'train'"),
        ({"trained": ("a b",)}, "names of encoders that are words of their own, got 'a b'"),
        ({"trained": ("a",), "levels": ()}, "levels of different names, at least one"),
        ({"trained": ("a",), "tune": FineTuningConfig(is_on=True)}, r"features online with tune.is-on, got once"),
    ],
)
def test_options__that_cannot_be__are_refused(options, says):
    with pytest.raises((ConfigError, OptionError), match=says):
        MultiPretext.Config(**options)


def test_encoder__of_another_architecture_or_channels_or_nowhere__is_refused_with_its_name(source, tmp_path):
    path = tmp_path / "mine.safetensors"
    config = MultiPretext.Config(encoders=(str(path),))
    with pytest.raises(ConfigError, match=r"a file of weights at .*mine.safetensors, got nothing there"):
        make(source, config)
    write_encoder(path, source, channels=1)
    with pytest.raises((CheckpointError, ConfigError), match=r"mine.safetensors"):
        make(source, config)
    write_encoder(path, source, name="lenet5", side=28)
    with pytest.raises(CheckpointError, match=r"resnet8"):
        make(source, config)
