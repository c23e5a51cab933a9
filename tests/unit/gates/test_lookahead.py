"""A gate in an outside file that asks for a view, for gradients and for the losses as a function."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError
from auxo.gates import GateResult, GateStep
from auxo.interfaces import TrainState
from auxo.methods.gssl import GSSL
from auxo.pretexts import GatedPretextsConfig
from auxo.registry.outside import import_file
from auxo.runs import Networks
from auxo.runs.records import read_records
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import Batch

FILE = Path(__file__).parents[2] / "outside" / "lookahead.py"


@pytest.fixture(params=["pretexts", "all"])
def method(request):
    pretexts = GatedPretextsConfig(gate=import_file(FILE).LookAhead.Config())
    config = GSSL.Config(pretexts=pretexts, covers=request.param)
    task = Classification(("a", "b", "c", "d"), channels=3, height=16, width=16)
    torch.manual_seed(0)
    method = config.build(Networks(BackboneConfig(name="resnet8"), task, seed=0)).double().train()
    with torch.no_grad():
        method.pretexts.gate.logits.copy_(torch.randn(len(method.pretexts.gate.logits)))
    return method


def batch_of(start, count):
    source = oriented_shapes(32, size=16, seed=0)
    chosen = torch.arange(start, start + count)
    images = source.images[chosen].double() / 127.5 - 1
    return Batch(images, {"label": source.columns["label"].values[chosen]}, chosen)


def test_views__of_a_method_with_the_gate__have_its_own():
    config = GSSL.Config(pretexts=GatedPretextsConfig(gate=import_file(FILE).LookAhead.Config()))
    assert list(config.required_views()) == ["train", "gate"]
    assert list(GSSL.Config().required_views()) == ["train"]
    assert list(replace(config, pretexts=replace(config.pretexts, tasks=())).required_views()) == ["train"]


def test_gate__learned_by_looking_ahead__follows_the_slope_of_the_class_loss(method, runtime):
    gate, batches, seen = method.pretexts.gate, {"train": batch_of(0, 12), "gate": batch_of(12, 8)}, {}
    state = TrainState(method.optimizers(), seed=3, step=5, num_steps=10)
    look = gate.look_ahead

    def noting(weights, gradients, step):
        seen.update(gradients=gradients, step=step)
        return look(weights, gradients, step)

    gate.look_ahead = noting
    before = {name: tensor.clone() for name, tensor in method.backbone.named_buffers()}
    made = method.pretexts.make(batches["train"].images, draws=state.draws("pretexts", batches["train"]))
    features = method.backbone(made.inputs).pooled
    after_one = {name: tensor.clone() for name, tensor in method.backbone.named_buffers()}
    losses = method.class_loss.joined(method.semantic(features), batches["train"], progress=0.5, runtime=runtime)
    step = method._gate_step(state, batches, runtime)
    loss = method.pretexts(features, made.targets, step, class_losses=losses).loss
    (found,) = torch.autograd.grad(loss, gate.logits)
    scale = 1.0 if method.pretexts.covers_class else method.config.pretexts.weight

    def outcome(logits):
        return look(logits.softmax(0), seen["gradients"], seen["step"]).item()

    direction = torch.randn(len(gate.logits), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ends = [outcome(gate.logits.detach() + sign * 1e-5 * direction) for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-5
    assert (found @ direction).item() == pytest.approx(scale * slope, rel=1e-5)
    assert abs(slope) > 1e-6
    assert seen["step"].progress == 0.5
    assert seen["step"].primary == (0 if method.pretexts.covers_class else None)
    kept = method.backbone.named_buffers()
    assert all(torch.equal(tensor, after_one[name]) for name, tensor in kept)  # looking ahead moves no statistics
    assert any(not torch.equal(after_one[name], before[name]) for name in before)


def test_gradients__of_each_loss__are_those_of_the_shared_weights(method, runtime):
    batch = batch_of(0, 6)
    features = method.backbone(batch.images).pooled
    losses = torch.stack([features.sum(1), features.square().sum(1)], 1)
    rows = GateStep(batch, runtime, shared=dict(method.backbone.named_parameters())).gradients(losses)
    parameters = list(method.backbone.parameters())
    for row, column in zip(rows, losses.unbind(1), strict=True):
        own = torch.autograd.grad(column.mean(), parameters, retain_graph=True)
        torch.testing.assert_close(row, torch.cat([part.reshape(-1) for part in own]))
    with pytest.raises(ConfigError, match="a method that says which weights its losses share"):
        GateStep(batch, runtime).gradients(losses)


def test_step__of_a_method__says_its_losses_as_a_function_of_backbone_and_heads(method, runtime):
    batches = {"train": batch_of(0, 12), "gate": batch_of(12, 8)}
    state = TrainState(method.optimizers(), seed=3, step=5, num_steps=10, steps_per_epoch=2)
    step = method._gate_step(state, batches, runtime)
    assert (step.progress, step.epoch, step.learns) == (0.5, 2, True)
    assert step.train is batches["train"]
    assert len(step.shared) == len([*method.backbone.parameters()])
    modules = {"backbone": method.backbone, "head": method.semantic, "heads": method.pretexts.heads}
    known = {f"{place}.{name}": value for place, part in modules.items() for name, value in part.named_parameters()}
    assert step.weights.keys() == known.keys()
    assert all(step.weights[name] is value for name, value in known.items())
    before = step.losses_at({}, batches["gate"])
    moved = {"heads.lorot.weight": step.heads["heads.lorot.weight"].detach() + 1}
    after = step.losses_at(moved, batches["gate"])
    torch.testing.assert_close(after.primary, before.primary)
    changed = (after.weighed != before.weighed).any(0).tolist()
    assert changed == [name == "lorot" for name in method.pretexts.names]


@pytest.mark.parametrize("normalise", [True, False])
def test_step__of_a_method__says_what_its_loss_is_made_of(method, runtime, normalise):
    pretexts = replace(method.pretexts.config, normalise_weights=normalise)
    seen = {}

    def noting(losses, features, step):
        seen["step"] = step
        seen["loss"] = losses.square().mean()
        return GateResult(seen["loss"], losses.new_full((losses.shape[1],), 1 / losses.shape[1]))

    method.pretexts.config, method.pretexts.gate.forward = pretexts, noting
    batches = {"train": batch_of(0, 12), "gate": batch_of(12, 8)}
    state = TrainState(method.optimizers(), seed=3)
    taken = {}

    class Noting(Runtime):
        def step(self, optimizer, loss):
            taken["loss"] = loss.detach()

    method.update(state, batches, Noting(config=runtime.config, device=runtime.device))
    step = seen["step"]
    weighed = step.scale * seen["loss"]
    expected = weighed if step.primary is not None else step.primary_loss + weighed
    torch.testing.assert_close(taken["loss"], expected.detach())


def test_train__with_the_gate_by_option__learns_its_weights(auxo, shapes_folder, tiny_options, tmp_path):
    out, gate = tmp_path / "run", "--method.pretexts.gate"
    words = ("train", "gssl", f"{gate}.name", f"{FILE}:LookAhead", f"{gate}.rate", "0.2", "--training.log-every", "1")
    answer = auxo(*words, "--data.train", shapes_folder, *tiny_options, "--device", "cpu", "--out", out)
    assert answer.code == 0, answer.err
    *_, last = (row for row in read_records(out / "records.jsonl") if row["kind"] == "losses")
    weights = [value for name, value in last["losses"].items() if name.startswith("gate_")]
    assert sum(weights) == pytest.approx(1)
    assert len(set(weights)) == 3
