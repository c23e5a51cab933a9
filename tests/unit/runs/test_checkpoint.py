"""Checkpoints are of one run and stage, and only whole ones are loaded."""

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data.digests import SplitDigests
from auxo.data.fake import oriented_shapes
from auxo.errors import CheckpointError, DataError
from auxo.files.tensor_file import read_tensor_file, write_tensor_file
from auxo.interfaces import TrainState
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.runs import Networks
from auxo.runs.checkpoint import Checkpoints, Progress, RunHeader, load_matching, load_weights, step_of
from auxo.runs.results import Selection
from auxo.tasks import Classification

TASK = Classification(("a", "b"), channels=3, height=28, width=28)
OPTIMIZER = OptimizerConfig(schedule="step", milestones=(0.25, 0.5))


def make(seed=0, optimizer=OPTIMIZER):
    """Return a method and its state, after one step along random gradients."""
    method = Supervised.Config(optimizer=optimizer).build(Networks(BackboneConfig(), TASK, seed=seed))
    optimizers = method.optimizers()
    schedulers = {name: optimizer.build_schedule(each, num_epochs=8) for name, each in optimizers.items()}
    state = TrainState(optimizers, schedulers, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for parameter in method.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizers["main"].step()
    return method, state


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path, "train", "digest", keep=2)


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_restore__after_save__gives_back_weights_buffers_schedule_and_progress(checkpoints, name):
    optimizer = OptimizerConfig(name=name, schedule="step", milestones=(0.25, 0.5))
    method, state = make(optimizer=optimizer)
    for _ in range(3):
        state.schedulers["main"].step()
    state.step = 7
    best = Selection("val", "semantic", "accuracy", 0.5, "nll", 1.0, 6, 2)
    progress = Progress(train_seconds=1.5, images=100, steps={"step": 7}, flops_per_step={"step": 10}, best=best)
    path = checkpoints.save(method, state, progress)

    other, restored = make(seed=1, optimizer=optimizer)
    assert checkpoints.restore(path, other, restored) == progress
    assert restored.step == 7
    for key, tensor in method.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key])
    for ours, theirs in zip(
        state.optimizers["main"].state.values(), restored.optimizers["main"].state.values(), strict=True
    ):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(torch.as_tensor(ours[key]), torch.as_tensor(theirs[key])) for key in ours)
    for each in (state, restored):
        each.schedulers["main"].step()
    assert restored.optimizers["main"].param_groups[0]["lr"] == state.optimizers["main"].param_groups[0]["lr"]
    assert restored.optimizers["main"].param_groups[0]["lr"] == pytest.approx(0.01 * 0.1**2)


def test_restore__rate_that_moves_every_step_and_two_groups__goes_on_to_the_same_bits(checkpoints):
    optimizer = OptimizerConfig(schedule="cosine", moves="step", warmup_epochs=1, minimum_lr=1e-4, decay_norms=False)
    method, state = make(optimizer=optimizer)
    for _ in range(3):
        state.schedulers["main"].step()
    other, restored = make(seed=1, optimizer=optimizer)
    checkpoints.restore(checkpoints.save(method, state, Progress()), other, restored)
    for _ in range(4):
        ours, theirs = (
            [(group["lr"], group["weight_decay"]) for group in each.optimizers["main"].param_groups]
            for each in (state, restored)
        )
        assert ours == theirs
        assert [decay for _, decay in ours] == [1e-4, 0.0]
        for each in (state, restored):
            each.schedulers["main"].step()


def test_save__more_than_are_kept__leaves_the_newest(checkpoints):
    method, state = make()
    for state.step in (5, 100, 20, 3):
        checkpoints.save(method, state, Progress())
    assert [path.name for path in checkpoints.saved()] == ["train-00000020.safetensors", "train-00000100.safetensors"]


def test_save__some_are_to_stay__leaves_those_beside_the_newest(tmp_path):
    method, state = make()
    state.steps_per_epoch = 5
    checkpoints = Checkpoints(tmp_path, "train", "digest", keep=1, keep_every=2)
    for state.step in range(1, 24):
        checkpoints.save(method, state, Progress())
    assert [step_of(path) for path in checkpoints.saved()] == [10, 20, 23]


def test_saved__other_stages_and_final_weights__are_not_among_them(checkpoints, tmp_path):
    method, state = make()
    Checkpoints(tmp_path, "train-00000001", "digest").save(method, state, Progress())
    checkpoints.save_weights(checkpoints.final, method, Progress())
    checkpoints.save_weights(checkpoints.best, method, Progress())
    assert checkpoints.saved() == []


@pytest.mark.parametrize(("stage", "digest"), [("train", "other"), ("warmup", "digest")])
def test_restore__checkpoint_of_another_run_or_stage__is_refused(checkpoints, tmp_path, stage, digest):
    method, state = make()
    path = Checkpoints(tmp_path, stage, digest).save(method, state, Progress())
    with pytest.raises(CheckpointError, match=r"a checkpoint of this run at .*, got one of a run with another config"):
        checkpoints.restore(path, method, state)


def digests_of(**seeds):
    """Return the digests of splits of four images each, drawn by a seed."""
    sources = {name: oriented_shapes(4, size=8, seed=seed) for name, seed in seeds.items()}
    return SplitDigests({name: (source, ("label",)) for name, source in sources.items()})


@pytest.mark.parametrize(("data", "name"), [({"train": 3, "val": 2}, "train"), ({"train": 1}, "val")])
def test_checkpoints__made_with_other_pictures__are_refused(tmp_path, data, name):
    method, state = make()
    theirs = Checkpoints(tmp_path, "train", "digest", data=digests_of(train=1, val=2))
    path = theirs.save(method, state, Progress())
    theirs.save_weights(theirs.best, method, Progress())
    ours = Checkpoints(tmp_path, "train", "digest", data=digests_of(**data))
    with pytest.raises(DataError, match=rf"the {name} images and targets that {path} was made with, got others"):
        ours.restore(path, method, state)
    with pytest.raises(DataError, match=rf"the {name} images and targets that .*train-best.* was made with"):
        ours.read_weights(ours.best)
    assert theirs.read_weights(theirs.best).keys() == method.state_dict().keys()


def test_checkpoints__written_by_the_first_version_of_digests__are_read(tmp_path):
    method, state = make()
    ours = Checkpoints(tmp_path, "train", "digest", data=digests_of(train=1))
    path = ours.save(method, state, Progress())
    tree, header = read_tensor_file(path, header=RunHeader)
    write_tensor_file(path, tree, {**header, "data": {"train": header["data"]["train"].removeprefix("v2:")}})
    ours.restore(path, method, state)
    write_tensor_file(path, tree, {**header, "data": {"train": "0123456789abcdef"}})
    with pytest.raises(DataError, match=r"the train images and targets that .* was made with, got others"):
        ours.restore(path, method, state)


def test_restore__optimizers_of_other_names__is_refused(checkpoints):
    method, state = make()
    path = checkpoints.save(method, state, Progress())
    state.optimizers["second"] = state.optimizers.pop("main")
    with pytest.raises(CheckpointError, match=r"the optimizers second in .*, got main: give them the names"):
        checkpoints.restore(path, method, state)


def test_restore__file_with_weights_only__is_refused(checkpoints):
    method, state = make()
    checkpoints.save_weights(checkpoints.final, method, Progress())
    with pytest.raises(CheckpointError, match=r"a checkpoint at .*, got weights only"):
        checkpoints.restore(checkpoints.final, method, state)


def test_save_weights__read_back__are_the_weights_and_what_they_cost(checkpoints):
    method, _ = make()
    progress = Progress(
        train_seconds=2.0,
        images=3,
        steps={"step": 4},
        best=Selection("val", "semantic", "accuracy", 0.5, "nll", 1.0, 6, 2),
    )
    checkpoints.save_weights(checkpoints.final, method, progress)
    weights = checkpoints.read_weights(checkpoints.final)
    assert all(torch.equal(weights[name], tensor) for name, tensor in method.state_dict().items())
    assert checkpoints.final_progress() == progress


def test_load_weights__names_or_shapes_that_differ__are_named_and_nothing_is_loaded():
    module = nn.Linear(2, 3)
    before = module.weight.detach().clone()
    with pytest.raises(CheckpointError, match=r"in x, got others, first 'bias'"):
        load_weights(module, {"weight": torch.ones(3, 2)}, origin="x")
    with pytest.raises(CheckpointError, match=r"in x, got others, first 'extra'"):
        load_weights(module, {**module.state_dict(), "extra": torch.ones(1)}, origin="x")
    with pytest.raises(CheckpointError, match=r"weight of shape \(3, 2\) in x, got \(2, 3\)"):
        load_weights(module, {"weight": torch.ones(2, 3), "bias": torch.ones(3)}, origin="x")
    assert torch.equal(module.weight, before)


def test_load_matching__some_fit__copies_those_and_counts_them():
    module = nn.Linear(2, 3)
    bias = module.bias.detach().clone()
    weights = {"weight": torch.ones(3, 2), "bias": torch.ones(4), "extra": torch.ones(1)}
    assert load_matching(module, weights, origin="x") == 1
    assert torch.equal(module.weight, torch.ones(3, 2))
    assert torch.equal(module.bias, bias)
    assert load_matching(module, {}, origin="x") == 0


def test_progress__operations__are_those_of_all_steps():
    assert Progress(steps={"a": 3, "b": 1}, flops_per_step={"a": 10, "b": 4}).flops == 34.0
    assert Progress(steps={"a": 3}).flops is None
