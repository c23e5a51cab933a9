"""Which options can be searched, and how samplers are spelled."""

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auxo.errors import AuxoError, ConfigError, SelectionError
from auxo.gates.frozen import FrozenGate
from auxo.gates.learned import LearnedGate
from auxo.gates.uniform import UniformGate
from auxo.methods.supervised import Supervised
from auxo.registry import entries
from auxo.runs.document import load_recipe
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.selection import SelectionRule
from auxo.runtime import open_runtime
from auxo.sweep import Choice, Integers, Interval, check_builds, parse_sampler, parse_space, search_fields, with_values

RUN = load_recipe("supervised")
FIELDS = search_fields(RUN)
LR = FIELDS["method.optimizer.lr"]
EPOCHS = FIELDS["epochs"]
REALS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.tuples(REALS, REALS), st.booleans())
def test_parse_sampler__range_of_numbers__is_read_back_or_refused(ends, is_log):
    low, high = ends
    sampler = Interval(low, high, is_log)
    if low < high and not (is_log and low <= 0):
        assert parse_sampler(str(sampler), LR) == sampler
        assert sampler.has(low)
        assert sampler.has(high)
        assert not sampler.has(math.nextafter(high, math.inf))
    else:
        with pytest.raises(ConfigError, match=r"LOW"):
            parse_sampler(str(sampler), LR)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_parse_sampler__whole_numbers__are_read_back(low, more):
    sampler = Integers(low, low + more)
    assert parse_sampler(str(sampler), EPOCHS) == sampler
    assert sampler.has(low + more)
    assert not sampler.has(low - 1)


@given(st.lists(REALS, min_size=2, max_size=5, unique=True))
def test_parse_sampler__choice_of_numbers__is_read_back(values):
    assert parse_sampler(str(Choice(tuple(values))), LR) == Choice(tuple(values))


@given(st.text(max_size=20))
def test_parse_sampler__any_text__is_a_sampler_or_refused(text):
    with suppress(ConfigError):
        assert parse_sampler(text, LR).has(parse_sampler(text, LR).values[0])


def test_parse_sampler__around__spans_the_factor_on_both_sides():
    found = parse_sampler("around:10", replace(LR, value=0.02))
    assert found == Interval(0.002, 0.2, is_log=True)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("method.class_loss.name=choice:ldam,cross_entropy", ("ldam", "cross_entropy")),
        ("drop-last=choice:True,false", (True, False)),
        ("batch-size=choice:16,32.0", (16, 32)),
        ("data.image-size=choice:none,16", (None, 16)),
        ("backbone.name=choice:lenet5, resnet20", ("lenet5", "resnet20")),
    ],
)
def test_parse_space__choices__have_the_type_of_the_option(word, value):
    if "class_loss" in word:  # ldam wants a head of cosines
        method = replace(RUN.stages[0].method, head="cosine")
        run = replace(RUN, stages=(replace(RUN.stages[0], method=method),))
    else:
        run = RUN
    ((parameter,),) = [parse_space(run, [word]).parameters]
    assert parameter.sampler == Choice(value)
    assert [type(each) for each in parameter.sampler.values] == [type(each) for each in value]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lr=log:1,2"], "did you mean method.optimizer.lr"),
        (["training.epochs=int:1,2"], "did you mean epochs"),
        (["method.optimiser.weight-decay=log:1e-5,1"], "did you mean method.optimizer.weight-decay"),
        (["seed=int:0,3"], "seed, the same for all trials"),
        (["data.scenario=choice:digits,cifar10"], "the same for all trials"),
        (["name=choice:a,b"], "method.optimizer.name"),
        (["backbone.architecture=choice:a,b"], "backbone.architecture"),
        (["epochs"], "FIELD=SAMPLER"),
        (["epochs=5"], "a sampler for epochs: uniform:LOW,HIGH"),
        (["epochs=int(5,20)"], "write int:5,20"),
        (["epochs=uniform:5,20"], "use int:LOW,HIGH or choice:A,B"),
        (["epochs=int:5"], "int:LOW,HIGH with LOW < HIGH"),
        (["epochs=int:1.5,3"], "whole numbers in int:LOW,HIGH"),
        (["epochs=int:0,3"], "epochs >= 1, got 0 in epochs=int:0,3"),
        (["epochs=int:1,2", "epochs=int:1,3"], "two for epochs"),
        (["method.optimizer.lr=int:1,2"], "use uniform:LOW,HIGH or log:LOW,HIGH"),
        (["method.optimizer.lr=log:0,1"], "LOW > 0"),
        (["method.optimizer.lr=log:1,0.1"], "LOW < HIGH"),
        (["method.optimizer.lr=log:1e-3,nan"], "LOW < HIGH"),
        (["method.optimizer.lr=around:1"], "FACTOR > 1"),
        (["method.optimizer.minimum-lr=around:2"], "a value > 0"),
        (["method.optimizer.momentum=uniform:0.5,1"], r"momentum in \[0, 1\), got 1.0 in method.optimizer.momentum="),
        (["method.optimizer.name=choice:sgd,adam"], "choose among sgd, adamw, lars"),
        (["method.optimizer.nesterov=choice:yes,no"], "true or false"),
        (["batch-size=choice:16,x"], "a whole number"),
        (["batch-size=choice:16,16"], "different values"),
        (["batch-size=choice:16"], "different values"),
        (["method.optimizer.milestones=choice:1,2"], "an option with a number"),
    ],
)
def test_parse_space__wrong_word__refused_in_one_line(words, says):
    with pytest.raises(ConfigError, match=says) as error:
        parse_space(RUN, words)
    assert "\n" not in str(error.value)


def test_parse_space__value_that_another_option_must_allow__accepted():
    words = ["method.optimizer.trust-coefficient=choice:0.001,0.1", "method.optimizer.name=choice:sgd,lars"]
    space = parse_space(RUN, words)
    assert space.run({"method.optimizer.trust-coefficient": 0.1, "method.optimizer.name": "lars"})
    with pytest.raises(ConfigError, match="for lars only"):
        space.run({"method.optimizer.trust-coefficient": 0.1, "method.optimizer.name": "sgd"})
    with pytest.raises(ConfigError, match="for lars only"):
        parse_space(RUN, words[:1])


@pytest.mark.parametrize("recipe", [*entries("methods"), "auxo.recipes.bissl:from_pretrained"])
def test_search_fields__every_recipe__own_values_give_the_same_run(recipe):
    run = load_recipe(recipe)
    found = search_fields(run)
    assert with_values(run, {item: item.value for item in found.values()}) == run
    noted = ("seed", "start-from", "transfers", "architecture", "normalisation")
    assert not [path for path in found if path.rpartition(".")[2] in noted]
    changed = next(item for path, item in found.items() if path.endswith("optimizer.lr"))
    assert with_values(run, {changed: 0.123}) != run


@pytest.mark.parametrize("recipe", entries("methods"))
def test_parse_space__without_words__every_recipe_declares_its_learning_rate(recipe):
    space = parse_space(load_recipe(recipe), [])
    assert any(path.endswith("method.optimizer.lr") for path in space.paths)
    weights = {"rotation": "pretext-weight", "gssl": "pretexts.weight", "fixmatch": "unlabelled-weight"}
    assert all(f"method.{weights[recipe]}" in space.paths for _ in range(recipe in weights))
    own = space.own_values
    assert own is not None
    assert space.run(own) == load_recipe(recipe)


def test_parse_space__method_outside_auxo__declares_by_metadata():
    class Mine(Supervised):
        @dataclass(frozen=True, kw_only=True)
        class Config(Supervised.Config):
            margin: float = field(default=0.5, metadata={"search": "log:0.05,5"})

    run = ExperimentConfig(stages=(replace(RUN.stages[0], method=Mine.Config()),))
    space = parse_space(run, [])
    assert space.describe() == {"method.optimizer.lr": "log:0.001,0.1", "method.margin": "log:0.05,5.0"}


def test_grid__choices_and_whole_numbers__all_combinations_once():
    space = parse_space(RUN, ["epochs=int:1,3", "method.optimizer.name=choice:sgd,adamw"])
    assert [tuple(values.values()) for values in space.grid()] == [
        (1, "sgd"), (1, "adamw"), (2, "sgd"), (2, "adamw"), (3, "sgd"), (3, "adamw"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"choice: or int: .*lr=log:0.1,0.2"):
        parse_space(RUN, ["method.optimizer.lr=log:0.1,0.2"]).grid()


def test_check_builds__choice_of_what_is_not_there__refused(make_space):
    with pytest.raises(AuxoError, match=r"a backbone .*, got 'resnet8x' in backbone.name=choice:lenet5,resnet8x"):
        make_space("backbone.name=choice:lenet5,resnet8x")
    space = make_space("data.image-size=choice:28,8")
    with open_runtime(space.config.runtime) as runtime, pytest.raises(AuxoError, match=r"at least|pixels"):
        check_builds(space, SelectionRule(), runtime=runtime)
    space = make_space("data.augment=choice:none,crop")
    with open_runtime(space.config.runtime) as runtime:
        assert check_builds(space, SelectionRule(), runtime=runtime).higher_is_better


def test_check_builds__rule__says_which_way_is_better_and_refuses_what_is_not_measured(make_space):
    space = make_space("epochs=int:1,2", recipe="rotation")
    with open_runtime(space.config.runtime) as runtime:
        assert not check_builds(space, SelectionRule(measure="nll"), runtime=runtime).higher_is_better
        assert check_builds(space, SelectionRule(head="rotation"), runtime=runtime).higher_is_better
        with pytest.raises(ConfigError, match="a measure of accuracy, nll, ece, got 'worst_group/background'"):
            check_builds(space, SelectionRule(measure="worst_group/background"), runtime=runtime)
        with pytest.raises(ConfigError, match="a head of first, semantic, rotation to select by, got 'jigsaw'"):
            check_builds(space, SelectionRule(head="jigsaw"), runtime=runtime)


def test_check_builds__last_stage_without_a_head__refused_unless_a_pretext_decides(make_space):
    space = make_space("pretrain.epochs=int:1,2", recipe="pretrain")
    pretraining = replace(space.config, stages=space.config.stages[:1])
    space = parse_space(pretraining, ["epochs=int:1,2"])
    with open_runtime(space.config.runtime) as runtime, pytest.raises(SelectionError, match="a head that predicts"):
        check_builds(space, SelectionRule(), runtime=runtime)


GATE = "method.pretexts.gate"
GATES = [
    f"{GATE}.name=choice:learned,uniform,frozen",
    f"{GATE}.entropy=log:0.1,2",
    f"{GATE}.form=choice:mean_of_softmax,per_sample",
]


def test_parse_space__name_among_the_options__each_trial_has_those_of_its_name():
    for words in (GATES, GATES[::-1]):  # the name need not come first
        space = parse_space(load_recipe("gssl"), words)
        entropy, form = f"{GATE}.entropy", f"{GATE}.form"
        drawn = {entropy: 0.3, form: "per_sample"}
        there = {
            name: set(space.keep_there({f"{GATE}.name": name, **drawn})) for name in ("learned", "uniform", "frozen")
        }
        assert there == {
            "learned": {f"{GATE}.name", entropy, form},
            "uniform": {f"{GATE}.name"},
            "frozen": {f"{GATE}.name", form},
        }
        gates = [space.run({f"{GATE}.name": name, **drawn}).stages[0].method.pretexts.gate for name in there]
        assert gates == [
            LearnedGate.Config(entropy=0.3, form="per_sample"),
            UniformGate.Config(),
            FrozenGate.Config(form="per_sample"),
        ]
        assert space.own_values == {f"{GATE}.name": "learned", entropy: 1.0, form: "mean_of_softmax"}


def test_parse_space__name_that_the_run_has_not__has_options_with_their_defaults():
    run = load_recipe("auxo.methods.gssl:nomoe")
    space = parse_space(run, [GATES[0], f"{GATE}.init=choice:default,kaiming"])
    assert space.own_values == {f"{GATE}.name": "uniform"}
    assert (
        space.run({f"{GATE}.name": "frozen", f"{GATE}.init": "kaiming"}).stages[0].method.pretexts.gate.init
        == "kaiming"
    )


def test_grid__name_among_the_options__no_combination_twice():
    space = parse_space(load_recipe("gssl"), [GATES[0], GATES[2]])
    assert [tuple(values.values()) for values in space.grid()] == [
        ("learned", "mean_of_softmax"), ("learned", "per_sample"), ("uniform",), ("frozen", "mean_of_softmax"),
        ("frozen", "per_sample"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([f"{GATE}.aggregator=choice:mgda,upgrad"], f"an option with a number.*got '{GATE}.aggregator'"),
        ([f"{GATE}.name=choice:learned,unifrom"], "one of auxo's gates, got 'unifrom': did you mean uniform"),
        ([GATES[0], f"{GATE}.entropy=uniform:-1,2"], "entropy >= 0, got -1.0 in"),
    ],
)
def test_parse_space__names_that_do_not_fit__are_refused(words, says):
    with pytest.raises(ConfigError, match=says):
        parse_space(load_recipe("gssl"), words)
