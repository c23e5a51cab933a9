"""The one walker over configurations."""

from dataclasses import dataclass, field

import pytest

from auxo.errors import ConfigError
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.runs.experiment import ExperimentConfig, StageConfig, named_options
from auxo.runs.tree import fold, replaced, walk


@dataclass(frozen=True)
class Leaf:
    low: int = 0
    high: int = 9

    def __post_init__(self):
        if self.low > self.high:
            raise ConfigError("low <= high", f"{self.low} > {self.high}", "turn them around")


@dataclass(frozen=True)
class Root:
    first: Leaf = field(default_factory=Leaf)
    many: tuple[Leaf, ...] = ()
    sizes: tuple[int, ...] = (1, 2)
    nothing: Leaf | None = None


TREE = Root(many=(Leaf(1), Leaf(2)))


def values_of(config):
    return {option.steps: option.value for option in walk(config)}


def test_walk__nested_tree__yields_every_value_in_the_order_of_the_fields():
    assert list(values_of(TREE).items()) == [
        (("first", "low"), 0),
        (("first", "high"), 9),
        (("many", "0", "low"), 1),
        (("many", "0", "high"), 9),
        (("many", "1", "low"), 2),
        (("many", "1", "high"), 9),
        (("sizes",), (1, 2)),
        (("nothing",), None),
    ]


def test_walk__option__knows_its_owner_and_field():
    option = next(option for option in walk(TREE) if option.steps == ("many", "1", "low"))
    assert (option.owner, option.field.name) == (Leaf(2), "low")


def test_fold__tree__combines_from_the_inside_out():
    def count(owner, made):
        inner = [value for value in made.values() if isinstance(value, int) and not isinstance(owner, Leaf)]
        return 1 + sum(inner) + sum(made.get("many", ()))

    assert fold(TREE, count) == 4


def test_replaced__steps_to_values__changes_those_alone():
    changed = replaced(TREE, {("many", "1", "low"): 5, ("sizes",): (3,), ("nothing",): Leaf(7)})
    assert changed == Root(many=(Leaf(1), Leaf(5)), sizes=(3,), nothing=Leaf(7))
    assert changed.many[0] is TREE.many[0]
    assert Root(many=(Leaf(1), Leaf(2))) == TREE


def test_replaced__values_that_only_fit_together__are_set_at_once():
    assert replaced(TREE, {("first", "low"): 20, ("first", "high"): 30}).first == Leaf(20, 30)
    with pytest.raises(ConfigError, match="low <= high, got 20 > 9"):
        replaced(TREE, {("first", "low"): 20})


def test_replaced__everything_that_was_walked__gives_the_same_tree():
    assert replaced(TREE, values_of(TREE)) == TREE
    assert replaced(TREE, {}) is TREE
    assert replaced(TREE, {(): Leaf()}) == Leaf()


def test_named_options__one_stage__have_the_names_of_the_command_line():
    config = ExperimentConfig(stages=(StageConfig(method=Supervised.Config(), epochs=7),), seed=3)
    options = named_options(config)
    assert options["epochs"].value == 7
    assert options["method.optimizer.lr"].value == config.stages[0].method.optimizer.lr
    assert options["selection.tie-break"].value == "nll"
    assert options["task.name"].value == "classification"
    assert options["seed"].value == 3
    assert not {"name", "start-from", "transfers"} & options.keys()


def test_named_options__notes_of_a_backbone__are_left_out():
    options = named_options(ExperimentConfig(stages=(StageConfig(method=Supervised.Config()),)))
    assert {"backbone.name", "backbone.pretrained"} <= options.keys()
    assert not {"backbone.architecture", "backbone.normalisation"} & options.keys()


def test_named_options__two_stages__begin_with_the_name_of_each():
    stages = (
        StageConfig(method=OSSL.Config(), name="warm_up", epochs=2),
        StageConfig(method=Supervised.Config(), name="fine", epochs=3, start_from="warm_up"),
    )
    options = named_options(ExperimentConfig(stages=stages))
    assert (options["warm-up.epochs"].value, options["fine.epochs"].value) == (2, 3)
    assert options["fine.epochs"].steps == ("stages", "1", "epochs")
    assert "epochs" not in options
    assert "seed" in options


def test_replaced__steps_that_lead_nowhere__are_refused():
    with pytest.raises(ValueError, match=r"steps within the configuration, got stages\.7\.name"):
        replaced(TREE, {("stages", "7", "name"): "x"})
