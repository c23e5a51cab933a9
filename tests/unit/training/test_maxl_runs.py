"""Runs of MAXL that are stopped within each level and stage and go on end with the same bytes."""

import signal
from dataclasses import replace
from functools import partial

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import MetaSplit
from auxo.errors import InterruptedRunError
from auxo.methods import maxl
from auxo.methods.maxl import MAXL
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.labelling import encode_images
from auxo.recipes.maxl import relabelled
from auxo.runs.experiment import StageConfig
from auxo.runs.networks import Networks

from .run_here import Watcher, make_config, make_splits, rows, run_here, train, weights_of

TINY = MAXL.Config.tiny()


def one_stage(**options):
    return (StageConfig(method=replace(TINY, outer="meta", **options), epochs=2, batch_size=16),)


def two_stages(labels):
    stages = relabelled().stages
    small = (replace(stages[0].method, hidden=8), replace(stages[1].method, hidden=8, labels=labels))
    return tuple(
        replace(stage, method=method, epochs=1, batch_size=16) for stage, method in zip(stages, small, strict=True)
    )


RUNS = {
    "two passes, judged by the meta split": one_stage(),
    "interleaved, judged by the meta split": one_stage(passes="interleaved"),
    "k-means of an autoencoder": (StageConfig(method=replace(TINY, labels="k_means"), epochs=1, batch_size=16),),
    "learned anew": two_stages("earlier"),
    "shuffled": two_stages("shuffled"),
}


class Stopping(Watcher):
    """Asks to stop after some steps."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def step_done(self, step, *, images_per_second, losses):
        super().step_done(step, images_per_second=images_per_second, losses=losses)
        if len(self.steps) == self.count:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("name", RUNS)
def test_run__stopped_every_three_steps_and_gone_on_with__same_bytes_and_records(tmp_path, name, monkeypatch):
    monkeypatch.setattr(maxl, "encode_images", partial(encode_images, steps=5))
    splits = make_splits()
    if "meta" in name:
        held = splits.train.source
        train_part, meta = (held.subset(torch.arange(*part), held.name) for part in ((0, 40), (40, 64)))
        splits = replace(splits, train=replace(splits.train, source=train_part), meta=MetaSplit(meta))
    config = make_config(*RUNS[name], log_every=1)
    train(config, tmp_path / "whole", splits)
    stops = 0
    while stops < 20:
        try:
            run_here(config, tmp_path / "stopped", splits, Stopping(3))
            break
        except InterruptedRunError:
            stops += 1
    assert stops >= 1
    whole, stopped = ((tmp_path / each / "model.safetensors").read_bytes() for each in ("whole", "stopped"))
    assert whole == stopped
    kept = [[(row["step"], row["losses"]) for row in rows(tmp_path / each, "losses")] for each in ("whole", "stopped")]
    assert kept[0] == kept[1]
    kinds = {"outer_loss" in losses for _, losses in kept[0]}
    assert kinds == ({False} if name.startswith("k-means") else {False, True})


def test_run__labels_learned_anew__by_a_network_with_first_weights_from_the_labelling_network_as_it_was(tmp_path):
    first, second = two_stages("earlier")
    # With a learning rate too small to change any weight, the stage ends with what it started from.
    still = OptimizerConfig(lr=1e-30, momentum=0.0, nesterov=False, weight_decay=0.0)
    config = make_config(first, replace(second, method=replace(second.method, optimizer=still)))
    train(config, tmp_path / "run")
    taught = weights_of(tmp_path / "run" / "checkpoints" / "invent-final.safetensors")
    last = weights_of(tmp_path / "run" / "model.safetensors")
    fresh = second.method.build(Networks(BackboneConfig(), make_splits().task(), seed=0)).state_dict()
    assert last["monitor.looks"] == 1
    for name, tensor in fresh.items():
        if name.startswith("monitor."):
            continue
        was_taught = name.startswith("generator.")
        torch.testing.assert_close(last[name], taught[name] if was_taught else tensor, rtol=0, atol=1e-25)
        assert not torch.equal(taught[name], tensor), name
