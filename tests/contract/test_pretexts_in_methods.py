"""Every registered pretext, chosen by its name at the command line, in every method that takes its kind."""

import math
from dataclasses import replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.cli.train import with_options
from auxo.data import InputPipeline, Loader
from auxo.data.fake import oriented_shapes
from auxo.data.splits import ValSplit
from auxo.errors import ConfigError
from auxo.interfaces import AbstractImagePretext, PretextConfig, PretextMethodConfig, TrainState
from auxo.methods.pretrain import Pretraining
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member, list_members
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.rotation import Rotation
from auxo.pretexts.simclr import SimCLR
from auxo.random import Draws, named_generator
from auxo.runs import Networks
from auxo.runs.document import from_json, load_recipe, to_json
from auxo.runs.model import splits_of
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.training.run import untrained_stages

NAMES = list_members(PretextConfig)
OF_ONE_IMAGE = [name for name in NAMES if issubclass(find_member(PretextConfig, name), AbstractImagePretext)]
SMALL = ["--data.num-train", "60", "--backbone.name", "resnet8", "--training.eval-batch-size", "16"]
FEW = {
    "pretrain": ["--data.num-labelled", "30", "--pretrain.batch-size", "6"],
    "joint_training": ["--batch-size", "6"],
    "bissl": [
        *("--data.num-labelled", "30", "--bilevel.batch-size", "3", "--warm-up.method.warm-up-pretext"),
        *("--bilevel.method.lower-steps", "1", "--bilevel.method.upper-steps", "1"),
        *("--bilevel.method.solver.iterations", "1"),
    ],
}
CASES = [(recipe, name) for recipe in ("pretrain", "bissl") for name in NAMES]
CASES += [("joint_training", name) for name in OF_ONE_IMAGE]
RUNTIME = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))


def configure(recipe, *words):
    return with_options(load_recipe(recipe), [*SMALL, *FEW[recipe], *words], command="auxo train")


@pytest.fixture(scope="module")
def splits():
    found = {recipe: splits_of(configure(recipe)) for recipe in FEW}
    few = torch.arange(32)  # to validate on: answering all of them takes longer than training
    return {name: replace(each, val=ValSplit(each.val.source.subset(few, "val"))) for name, each in found.items()}


def take_step(trainer, step):
    trainer.feeds.open(step, step + 1)
    plan = trainer.feeds.plan(step)
    trainer.state.step, trainer.state.kind = step, plan.kind
    return trainer.method.update(trainer.state, trainer.feeds.read(plan)[0], RUNTIME)


@pytest.mark.parametrize(("recipe", "name"), CASES)
def test_pretext__chosen_by_its_name__trains_and_is_measured_with_its_chance(recipe, name, splits):
    config = configure(recipe, "--pretext.name", name)
    assert from_json(to_json(config), origin="config.json") == config
    trained = 0
    for trainer in untrained_stages(config, splits=splits[recipe], runtime=RUNTIME):
        if not isinstance(trainer.stage.method, PretextMethodConfig):
            continue
        before = {key: value.clone() for key, value in trainer.method.pretext.named_parameters()}
        trainer.method.train()
        for step in range(2):  # of BiSSL one below and one above
            metrics = take_step(trainer, step)
            assert all(torch.isfinite(value) for value in metrics.values())
        moved = {key for key, value in trainer.method.pretext.named_parameters() if not torch.equal(value, before[key])}
        frozen = trainer.method.pretext.frozen_parameters()
        assert {key for key in before if key not in frozen} <= moved
        rows = [row for row in trainer.reader.evaluate(splits[recipe].val) if row.kind == "pretext"]
        heads = trainer.method.pretext_heads()
        assert {row.head: row.chance for row in rows} == {key: head.pretext.chance for key, head in heads.items()}
        assert all(row.chance == pytest.approx(1 / heads[row.head].pretext.num_outputs) for row in rows)
        assert bool(rows) is (name in OF_ONE_IMAGE and name != "inpaint")
        trained += 1
    assert trained == {"pretrain": 1, "joint_training": 1, "bissl": 3}[recipe]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_ONE_IMAGE])
def test_pretext__of_two_views__is_refused_by_joint_training_in_one_line(name):
    with pytest.raises(ConfigError, match=f"a pretext of one image for JointTraining, got {name}") as refused:
        configure("joint_training", "--pretext.name", name)
    assert "\n" not in str(refused.value)


def test_option__of_a_stage__is_its_own_and_begins_as_the_runs():
    config = configure("pretrain", "--pretext.name", "jigsaw", "--pretext.grid", "2")
    assert config.stages[0].method.pretext is None
    assert config.trained_stages[0].method.chosen_pretext == Jigsaw(2)
    own = ("--pretext.name", "jigsaw", "--pretext.grid", "2", "--pretrain.method.pretext.num-orders", "5")
    assert configure("pretrain", *own).trained_stages[0].method.chosen_pretext == Jigsaw(2, 5)
    other = configure("pretrain", "--pretrain.method.pretext.name", "rotation")
    assert (other.pretext, other.trained_stages[0].method.chosen_pretext) == (SimCLR.Config(), Rotation())


def test_option__without_a_stage_that_trains_a_pretext__is_refused():
    with pytest.raises(ConfigError, match="a method that trains the pretext, got jigsaw with supervised"):
        with_options(load_recipe("supervised"), ["--pretext.name", "jigsaw"], command="auxo train")
    with pytest.raises(ConfigError, match=r"a pretext for LinearProbe, got none: pass --pretext\.name"):
        with_options(load_recipe("linear_probe"), ["--method.warm-up-pretext"], command="auxo train")
    with pytest.raises(ConfigError, match=r"--pretext\.name before its options, got none"):
        with_options(load_recipe("linear_probe"), ["--pretext.grid", "2"], command="auxo train")


def test_stages__that_hand_heads_on__must_have_one_pretext():
    words = ("--pretext.name", "rotation", "--bilevel.method.pretext.name", "jigsaw")
    with pytest.raises(ConfigError, match=r"one pretext in the stages pretrain and bilevel.*got rotation and jigsaw"):
        configure("bissl", *words)


@pytest.mark.parametrize(
    ("pretext", "guessing", "steps"),
    [
        (SimCLR.Config(hidden=32, outputs=16), math.log(2 * 32 - 1), 60),
        (Rotation(), math.log(4), 20),
        (Jigsaw(2, 4), math.log(4), 40),
    ],
    ids=["simclr", "rotation", "jigsaw"],
)
def test_pretraining__a_few_steps__answers_held_out_images_better_than_guessing(pretext, guessing, steps):
    train, held_out = (oriented_shapes(count, size=20, seed=seed) for count, seed in ((256, 0), (32, 1)))
    pipeline = InputPipeline.from_source(train)
    task = Classification(train.vocabulary["label"], *train.image_shape)
    config = Pretraining.Config(pretext=pretext, optimizer=OptimizerConfig(lr=0.1, weight_decay=0.0))
    method = config.build(Networks(BackboneConfig(name="resnet8"), task, seed=0)).train()
    state = TrainState(method.optimizers(), seed=0, num_steps=steps)
    views = config.required_views()

    def show(batch, seed):
        return {
            name: pipeline(batch, seed=10 * seed + number, augment=view.augment)
            for number, (name, view) in enumerate(views.items())
        }

    for batch in Loader(train, batch_size=32, seed=0).batches(range(steps)):
        method.update(state, show(batch, state.step), RUNTIME)
        state.step += 1
    (batch,) = Loader(held_out, batch_size=32, seed=0).batches(range(1))
    inputs = method.pretext.prepare(
        show(batch, 1000), draws=lambda stream, batch: Draws(named_generator(1, stream)), runtime=RUNTIME
    )
    method.eval()
    with torch.no_grad():
        loss = method.pretext(method.backbone, inputs).loss.item()
    assert loss < 0.95 * guessing
