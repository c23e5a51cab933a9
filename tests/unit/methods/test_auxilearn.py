"""AuxiLearn: what each step moves, its order of steps, its baselines, its monitor, and what is refused."""

from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.data.splits import TrainSplit
from auxo.errors import ConfigError, OptionError
from auxo.evaluation.images import ImageReader
from auxo.gates import GateStep, TaskLosses
from auxo.gates.hypergradient import HypergradientGate
from auxo.gates.torchjd import TorchJDGate
from auxo.gates.uniform import UniformGate
from auxo.interfaces import ImageExhibit, TableExhibit, TextExhibit, TrainState
from auxo.methods.auxilearn import AuxiLearn
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GivenTasksConfig
from auxo.pretexts.labelling import InventedTaskConfig
from auxo.recipes.auxilearn import pet_released
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification, Target
from auxo.types import Batch

TINY = AuxiLearn.Config.tiny()
FAST = OptimizerConfig(lr=0.1)
INVENTED = InventedTaskConfig(sub_classes=(2,), every=1, hidden=16, optimizer=FAST)
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
NAMES = ("arrow", "l", "t", "wedge")


def make(config, seed=0):
    task = Classification(class_names=NAMES, channels=3, height=28, width=28, class_counts=(6, 6, 6, 6))
    columns = {"fine": Target("fine", ("p", "q", "r"))}
    return config.build(Networks(BackboneConfig(), task, seed=seed, columns=columns)).train()


def make_batch(first=0):
    source = oriented_shapes(24, size=28, seed=5)
    labels = source.columns["label"].values.clamp(max=3)
    part = torch.arange(first, first + 12)
    images = source.images.float() / 127.5 - 1
    return Batch(images[part], {"label": labels[part], "fine": part % 3}, part)


def take_steps(method, count=1, *, names=("train", "gate"), state=None):
    """Metrics of the last of several steps."""
    state = state or TrainState(method.optimizers())
    batches = {"train": make_batch(), "outer": make_batch(12), "gate": make_batch(12)}
    for _ in range(count):
        state.kind = method.config.plan(state.step, {}).kind
        metrics = method.update(state, {name: batches[name] for name in names}, RUNTIME)
        state.step += 1
    return metrics


def moved_by(method, names):
    """The names of the parameters that a step with these views moves."""
    before = {name: value.detach().clone() for name, value in method.named_parameters()}
    take_steps(method, names=names)
    return {name for name, value in method.named_parameters() if not torch.equal(value, before[name])}


def test_levels__step_of_the_network__leaves_the_labelling_network_to_the_bit():
    method = make(replace(TINY, optimizer=FAST, gate=UniformGate.Config()))
    generator = {f"invented.generator.{name}" for name, _ in method.invented.generator.named_parameters()}
    assert moved_by(method, ("train", "gate")) == {name for name, _ in method.named_parameters()} - generator


def test_levels__step_of_the_labelling_network__leaves_the_network_to_the_bit():
    method = make(AuxiLearn.Config(invented=INVENTED, given=GivenTasksConfig(columns=("fine",))))
    state, batch = TrainState(method.optimizers()), make_batch()
    before = {name: value.detach().clone() for name, value in method.state_dict().items()}
    method._teach_labels(state, {"train": batch, "outer": make_batch(12)}, torch.ones(2), RUNTIME)
    changed = {name for name, value in method.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"invented.generator.{name}" for name, _ in method.invented.generator.named_parameters()}


def test_weight_zero__steps__are_those_of_supervised_training_to_the_bit():
    given = GivenTasksConfig(columns=("fine",), pretexts=("rotation",))
    alone = make(AuxiLearn.Config(weight=0.0, given=given, invented=INVENTED, optimizer=FAST))
    plain = make(Supervised.Config(optimizer=FAST))
    found, expected = take_steps(alone, 3), take_steps(plain, 3)
    assert torch.equal(found["primary_loss"], expected["classification_loss"])
    ours, theirs = alone.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert [*alone.config.required_views()] == ["train"]
    assert alone.config.learned_columns == ("fine",)


@pytest.mark.parametrize(("sum_tasks", "weight", "expected"), [(True, 1.0, 1.0), (False, 1.0, 0.5), (True, 0.3, 0.3)])
def test_loss__uniform_gate__is_the_primary_loss_and_the_others_at_their_weight(sum_tasks, weight, expected):
    given = GivenTasksConfig(columns=("fine",), pretexts=("rotation",))
    config = AuxiLearn.Config(given=given, sum_tasks=sum_tasks, weight=weight, gate=UniformGate.Config())
    metrics = take_steps(make(config))
    total = expected * (metrics["fine_loss"] + metrics["rotation_loss"])
    torch.testing.assert_close(metrics["gated_loss"], total)
    assert metrics["gate_fine"].item() == pytest.approx(expected)


def test_loss__gate_that_covers_all__has_the_primary_loss_in_it():
    given = GivenTasksConfig(columns=("fine",))
    config = AuxiLearn.Config(given=given, covers="all", weight=0.3, gate=UniformGate.Config(), sum_tasks=False)
    metrics = take_steps(make(config))
    torch.testing.assert_close(metrics["gated_loss"], (metrics["primary_loss"] + 0.3 * metrics["fine_loss"]) / 2)
    assert [name for name in metrics if name.startswith("gate_")] == ["gate_primary", "gate_fine"]


def test_gate_step__losses_at_the_weights_as_they_are__are_those_of_the_step():
    method = make(replace(TINY, covers="all"))
    state, batches = TrainState(method.optimizers(), step=3), {"train": make_batch(), "gate": make_batch(12)}
    answers = method._answer_tasks(state, batches["train"], RUNTIME)
    step = method._gate_step(state, batches, answers, RUNTIME)
    assert isinstance(step, GateStep)
    before = method.state_dict()["backbone.convolution1.weight"].clone()
    found = step.losses_at({}, batches["train"])
    assert isinstance(found, TaskLosses)
    torch.testing.assert_close(found.weighed, method._stack_weighed(answers))
    torch.testing.assert_close(found.primary, answers.primary_means)
    moved = {name: value.detach() + 0.1 for name, value in step.heads.items() if name.startswith("given.")}
    other = step.losses_at(moved, batches["train"])
    assert (other.weighed != found.weighed).any(0).tolist() == [False, True, False]
    assert torch.equal(method.state_dict()["backbone.convolution1.weight"], before)
    lower = {f"{name}.{inner}" for name, part in method._lower_parts.items() for inner, _ in part.named_parameters()}
    assert step.weights.keys() == lower


def test_plan__invented_task__is_taught_equally_often_in_every_epoch():
    config = AuxiLearn.Config(invented=replace(INVENTED, every=3), gate=UniformGate.Config(), monitor_every=0)
    plans = [config.plan(number, {"train": 7}) for number in range(14)]
    assert [dict(plan.batches).get("outer") for plan in plans] == [
        None, None, None, 0, None, None, 1, None, None, None, 2, None, None, 3,
    ]  # fmt: skip
    assert all(plan.batches["train"] == number for number, plan in enumerate(plans))
    assert [plan.optimizers for plan in plans[2:4]] == [("main",), None]
    assert {plan.kind for plan in plans if "outer" in plan.batches} == {"step, taught"}
    rare = replace(config, invented=replace(INVENTED, every=30))
    assert [number for number in range(14) if "outer" in rare.plan(number, {"train": 7}).batches] == [6, 13]


def test_plan__monitor__has_a_kind_of_its_own():
    config = AuxiLearn.Config(given=GivenTasksConfig(columns=("fine",)), monitor_every=3)
    kinds = ["monitored", "step, gate", "step, gate", "monitored, gate"]  # the gate has no upper step before the first
    assert [config.plan(number, {}).kind for number in range(4)] == kinds
    plain = replace(config, gate=UniformGate.Config())
    assert [plain.plan(number, {}).kind for number in range(4)] == ["monitored", "step", "step", "monitored"]


def test_monitor__cosine_and_norms__are_those_of_the_gradients():
    method = make(AuxiLearn.Config(given=GivenTasksConfig(columns=("fine",)), monitor_every=2))
    batch, state = make_batch(), TrainState(method.optimizers())
    answers = method._answer_tasks(state, batch, RUNTIME)
    shared = [*method.backbone.parameters()]
    gradients = [
        torch.cat([part.flatten() for part in torch.autograd.grad(loss, shared, retain_graph=True)])
        for loss in (answers.primary_means.mean(), answers.means[:, 0].mean())
    ]
    metrics = take_steps(method, state=state)
    cosine = torch.nn.functional.cosine_similarity(*gradients, dim=0)
    torch.testing.assert_close(metrics["fine_cosine"], cosine)
    torch.testing.assert_close(metrics["primary_gradient"], gradients[0].norm())
    torch.testing.assert_close(metrics["fine_gradient"], gradients[1].norm())
    assert "fine_cosine" not in take_steps(method, state=state)


def read_train(method):
    """What a method is asked for its exhibits with."""
    source = oriented_shapes(24, size=28, seed=5)
    pipeline = InputPipeline.from_source(source)
    reader = ImageReader(method, TrainSplit(source), pipeline=pipeline, runtime=RUNTIME, batch_size=10)
    return {"train": reader}


def test_exhibits__after_some_looks__are_the_cosines_of_the_stage_and_the_invented_labels():
    method = make(replace(TINY, monitor_every=1))
    state = TrainState(method.optimizers())
    seen = [float(take_steps(method, state=state)["rotation_cosine"]) for _ in range(3)]
    text, table, *labels = method.exhibits(read_train(method))
    assert isinstance(text, TextExhibit)
    assert "at 3 steps" in text.text
    assert isinstance(table, TableExhibit)
    row = next(row for row in table.rows if row[0] == "rotation")
    mean, low, high = sum(seen) / 3, min(seen), max(seen)
    assert row[1:4] == (f"{mean:.3f}", f"{low:.3f}", f"{high:.3f}")
    assert row[4] == f"{100 * sum(each < 0 for each in seen) / 3:.0f} %"
    assert [type(each) for each in labels] == [TextExhibit, ImageExhibit, TableExhibit]


def test_exhibits__a_stage_that_starts_anew__forgets_earlier_looks():
    method = make(AuxiLearn.Config(given=GivenTasksConfig(columns=("fine",)), monitor_every=1))
    take_steps(method, 3)
    take_steps(method, 2)
    assert int(method.monitor.looks) == 2


def test_exhibits__no_look__are_none():
    assert make(AuxiLearn.Config(given=GivenTasksConfig(columns=("fine",)))).exhibits({}) == ()
    assert make(AuxiLearn.Config(weight=0.0)).exhibits({}) == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"an auxiliary task for AuxiLearn, got none: pass --method\.given\.pretexts rotation"),
        ({"covers": "all", "weight": 0.0}, "auxiliary losses for a gate that covers all, got weight 0"),
        ({"invented": InventedTaskConfig(every=3), "weight": 0.0}, r"an invented task with invented\.sub-classes"),
        ({"given": GivenTasksConfig(columns=("primary",))}, "other names than metrics have, got primary"),
        ({"given": GivenTasksConfig(columns=("fine",)), "weight": -1.0}, "weight >= 0"),
        (
            {"given": GivenTasksConfig(pretexts=("flip",)), "gate": TorchJDGate.Config()},
            "pretexts, which make inputs of their own: pass --method.gate.gradients weights",
        ),
    ],
)
def test_options__that_make_no_sense__are_refused_in_one_line(options, message):
    with pytest.raises((ConfigError, OptionError), match=message) as refused:
        AuxiLearn.Config(**options)
    assert "\n" not in str(refused.value)


def test_gate__hypergradient__moves_its_network_along_the_primary_loss_and_stays_under_the_optimiser():
    gate = HypergradientGate.Config(every=2, lr=0.1)
    method = make(AuxiLearn.Config(given=GivenTasksConfig(columns=("fine",)), gate=gate, optimizer=FAST))
    state, seen = TrainState(method.optimizers()), []
    for _ in range(4):
        take_steps(method, state=state, names=("train", "gate"))
        seen.append(method.gate.network.layer.weight.item())
    assert seen[0] == seen[1] == 1.0
    assert seen[1] != seen[2] == seen[3]
    assert set(method.frozen_parameters()) == {"gate.network.layer.weight"}


def test_recipe__of_pets__has_the_released_values():
    stage = pet_released().stages[0]
    invented, gate = stage.method.invented, stage.method.gate
    assert (stage.epochs, stage.batch_size) == (150, 16)
    assert (invented.sub_classes, invented.weight, invented.gamma, invented.every) == ((5,), 0.25, 2.0, 30)
    assert (invented.terms, invented.scale, invented.clip, invented.entropy_weight) == (3, 1e-3, 50.0, 0.0)
    assert (gate.terms, gate.scale, gate.every, gate.clip, gate.network.skip) == (3, 1e-3, 30, 50.0, True)
    for optimizer in (stage.method.optimizer, invented.optimizer):
        assert (optimizer.lr, optimizer.momentum, optimizer.nesterov, optimizer.weight_decay) == (
            1e-3,
            0.9,
            False,
            5e-3,
        )
