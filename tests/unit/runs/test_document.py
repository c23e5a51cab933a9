"""Runs as files: what goes into JSON comes back equal, and what does not fit is named."""

import copy
import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.errors import ConfigError
from auxo.gates.frozen import FrozenGate
from auxo.gates.uniform import UniformGate
from auxo.methods.bissl import BiSSL
from auxo.methods.fixmatch import FixMatch
from auxo.methods.joint_training import JointTraining
from auxo.methods.ossl import OSSL
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.byol import BYOL
from auxo.pretexts.rotation import Rotation
from auxo.runs.document import config_digest, from_json, load_recipe, to_json
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.selection import SelectionRule
from auxo.solvers.conjugate_gradient import ConjugateGradientSolver
from auxo.solvers.identity import IdentitySolver
from auxo.solvers.neumann import NeumannSolver

RECIPES = ("supervised", "rotation", "ossl", "auxo.methods.ossl:cifar10_released")
FILE = """
from dataclasses import dataclass
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.methods.supervised import Supervised

class Mine(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        strength: float = 0.5

def recipe():
    return ExperimentConfig(stages=(StageConfig(method=Mine.Config(strength=0.25), epochs=3),))

def other():
    return ExperimentConfig(stages=(StageConfig(method=Mine.Config(), epochs=4),))

number = 3
"""


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("name", RECIPES)
def test_load_recipe__of_auxo__is_an_experiment(name):
    assert isinstance(load_recipe(name), ExperimentConfig)


@pytest.mark.parametrize(("function", "epochs"), [("", 3), (":recipe", 3), (":other", 4)])
def test_load_recipe__file__calls_the_named_function(recipe_file, function, epochs):
    assert load_recipe(f"{recipe_file}{function}").stages[0].epochs == epochs


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("osls", r"one of auxo's methods, got 'osls': did you mean ossl"),
        ("nothing.py", r"a Python file, got no file nothing\.py"),
        ("no.such.module:recipe", r"an importable module, got 'no\.such\.module'"),
        ("auxo.methods.ossl:nothing", r"a function 'nothing' in auxo\.methods\.ossl, got none \(there are: .*recipe"),
        ("{file}:nothing", r"a function 'nothing' in .*mine\.py, got none \(there are: .*recipe, other\)"),
        ("{file}:number", r"a function 'number' in .*mine\.py, got none"),
        ("json:dumps", r"json to run, got TypeError: dumps\(\) missing 1 required positional argument"),
        ("builtins:dict", r"an ExperimentConfig from builtins:dict, got dict"),
    ],
)
def test_load_recipe__not_there_or_no_recipe__is_told(recipe_file, name, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(name.format(file=recipe_file))


@pytest.mark.parametrize("name", RECIPES)
def test_json__of_a_recipe__comes_back_equal(name):
    config = load_recipe(name)
    assert from_json(to_json(config), origin="config.json") == config


@settings(max_examples=40, deadline=None)
@given(
    lr=st.floats(1e-6, 10),
    epochs=st.integers(1, 1000),
    seed=st.integers(0, 2**63 - 1),
    ood=st.lists(st.text(min_size=1), max_size=3),
    num_train=st.none() | st.integers(2, 10**6),
    name=st.text("abc-_09").map(lambda text: f"s{text}"),
)
def test_json__any_value__comes_back_equal(lr, epochs, seed, ood, num_train, name):
    method = OSSL.Config(optimizer=OptimizerConfig(lr=lr), auxiliary_weight_decay=lr / 2)
    config = ExperimentConfig(
        stages=(
            StageConfig(method=Supervised.Config(), name=f"{name}0", selection=SelectionRule(keep="best")),
            StageConfig(method=method, name=name, epochs=epochs, start_from=f"{name}0"),
        ),
        backbone=BackboneConfig(name="resnet20"),
        data=DataConfig(ood=tuple(ood), num_train=num_train),
        training=TrainingConfig(checkpoint_every=epochs),
        seed=seed,
    )
    assert from_json(to_json(config), origin="config.json") == config


def test_from_json__whole_number_for_a_float__is_taken():
    document = json.loads(to_json(load_recipe("ossl")))
    document["run"]["stages"][0]["method"]["optimizer"]["lr"] = 1
    lr = from_json(json.dumps(document), origin="x").stages[0].method.optimizer.lr
    assert (lr, type(lr)) == (1.0, float)


def nodes(value, path=()):
    """Return the path of every value in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from nodes(item, (*path, key))


def refusal(text):
    """Return what is wrong with a config, or nothing if it can be used and comes back equal."""
    try:
        config = from_json(text, origin="config.json")
    except ConfigError as error:
        return str(error)
    assert from_json(to_json(config), origin="config.json") == config
    return None


DOCUMENT = json.loads(to_json(load_recipe("ossl")))
OPTIONAL = {("data", "ignore_index")}  # options that are something else by default and can be None


@pytest.mark.parametrize("path", list(nodes(DOCUMENT["run"])), ids=lambda path: ".".join(map(str, path)) or "run")
def test_from_json__any_part_replaced__is_refused_in_one_line_or_valid(path):
    for wrong in ({"a": 1}, [[]], "?", -1.5, True, None):
        document = copy.deepcopy(DOCUMENT)
        parent = document
        for key in ("run", *path)[:-1]:
            parent = parent[key]
        key = ("run", *path)[-1]
        was = parent[key]
        parent[key] = wrong
        message = refusal(json.dumps(document))
        if message is None:
            is_optional = was is None or (wrong is None and path in OPTIONAL)
            assert is_optional or (type(wrong) is type(was) and wrong in ("?", True)), wrong
        else:
            assert re.fullmatch(r"expected .+, got .+: .+", message), wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"JSON in x, got something else: repair"),
        ('{\n"format": }', r"JSON in x, got something else at line 2"),
        ("[1]", r"config format 3 in x, got list"),
        ("{}", r"config format 3 in x, got None: .*another program"),
        ('{"format": 1, "auxo": "9.9"}', r"config format 3 in x, got 1: .*9\.9"),
        ('{"format": 3}', r"an object 'run' in x, got none"),
        ('{"format": 3, "run": []}', r"an object 'run' in x, got list"),
    ],
)
def test_from_json__no_config__is_told(text, message):
    with pytest.raises(ConfigError, match=message):
        from_json(text, origin="x")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("data", "trian"), "y", r"known fields in x, got 'data\.trian': did you mean 'train'\?"),
        (("data", "zzz"), "y", r"known fields in x, got 'data\.zzz': remove it"),
        (("data", "ood"), "y", r"a valid data\.ood in x, got 'y', no list"),
        (("data", "ood"), ["y", 3], r"a valid data\.ood\.1 in x, got 3, no str"),
        (("data", "storage"), "disk", r"a valid data\.storage in x, got 'disk', none of 'auto', 'memory', 'stream'"),
        (("stages", 0, "epochs"), True, r"a valid stages\.0\.epochs in x, got True, no int"),
        (("stages", 0, "epochs"), 1.5, r"a valid stages\.0\.epochs in x, got 1\.5, no int"),
        (("stages", 0, "method", "optimizer", "lr"), "1", r"stages\.0\.method\.optimizer\.lr in x, got '1', no float"),
        (("stages", 0, "method", "optimizer", "lr"), -1.0, r"optimizer\.lr > 0 in x, got -1\.0"),
        (("stages", 0, "method", "type"), "osls", r"one of auxo's methods, got 'osls'"),
        (("stages", 0, "method", "type"), "", r"one of auxo's methods, got ''"),
        (("stages",), [], r"at least one stage, got none"),
    ],
)
def test_from_json__field_that_does_not_fit__is_named(path, value, message):
    document = copy.deepcopy(DOCUMENT)
    parent = document["run"]
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        from_json(json.dumps(document), origin="x")


GSSL_DOCUMENT = json.loads(to_json(load_recipe("gssl")))
GATE_FILE = (Path(__file__).parents[2] / "outside" / "pushed.py").read_text()


def read_gate(gate, *, number=3, code=None, **changes):
    """Return the gate of a document of G-SSL."""
    document = copy.deepcopy(GSSL_DOCUMENT) | {"format": number}
    (stage,) = document["run"]["stages"]
    stage["method"]["pretexts"]["gate"] = gate
    stage.update(changes)
    config = from_json(json.dumps(document), origin="x", code=code, is_published=number < 3)
    return config.stages[0].method.pretexts.gate


def test_from_json__member_of_a_family__has_the_options_of_its_name():
    assert GSSL_DOCUMENT["run"]["stages"][0]["method"]["pretexts"]["gate"]["name"] == "learned"
    assert read_gate({"name": "frozen", "init": "kaiming"}) == FrozenGate.Config(init="kaiming")
    assert read_gate({"name": "uniform"}) == UniformGate.Config()


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"name": "uniform", "entropy": 1.0}, r"known fields in x, got '.*pretexts\.gate\.entropy': remove it"),
        ({"name": "learned", "entropi": 1.0}, r"got '.*gate\.entropi': did you mean 'entropy'\?"),
        ({"name": "learned", "entropy": -1.0}, r"stages\.0\.method\.pretexts\.gate\.entropy >= 0 in x, got -1\.0"),
        ({"name": "leanred"}, r"one of auxo's gates, got 'leanred': did you mean learned"),
        ({}, r"one of auxo's gates, got ''"),
        ("learned", r"a valid stages\.0\.method\.pretexts\.gate in x, got 'learned', no object"),
    ],
)
def test_from_json__member_of_a_family_that_does_not_fit__is_told(gate, message):
    with pytest.raises(ConfigError, match=message):
        read_gate(gate)


@pytest.mark.parametrize(("number", "changes"), [(1, {"selection": "best_val"}), (2, {})])
def test_from_json__export_with_the_options_of_all_members__keeps_those_of_its_own(number, changes):
    flat = {"form": "per_sample", "init": "default", "normalise_losses": True, "entropy": 1.0, "aggregator": "upgrad"}
    assert read_gate({"name": "frozen", **flat}, number=number, **changes) == FrozenGate.Config(form="per_sample")


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("conjugate_gradient", ConjugateGradientSolver(damping=2.0, iterations=3, tolerance=0.0)),
        ("neumann", NeumannSolver(damping=2.0, iterations=3)),
        ("identity", IdentitySolver()),
    ],
)
def test_from_json__export_with_the_options_of_all_solvers__keeps_those_of_its_own(name, solver):
    document = json.loads(to_json(load_recipe("bissl"))) | {"format": 2}
    (method,) = [each["method"] for each in document["run"]["stages"] if each["method"]["type"] == "bissl"]
    method |= {"solver": name, "damping": 2.0, "iterations": 3, "tolerance": 0.0}
    made = from_json(json.dumps(document), origin="x", is_published=True)
    assert [each.method.solver for each in made.stages if isinstance(each.method, BiSSL.Config)] == [solver]


def test_from_json__gate_of_a_file__needs_leave_and_is_in_the_digest(tmp_path):
    place = tmp_path / "mine.py"
    place.write_text(GATE_FILE)
    gate = {"name": f"{place}:Mine", "push": 2.0}
    with pytest.raises(ConfigError, match=r"your leave to run what is outside auxo, got .*mine\.py: pass --code"):
        read_gate(gate)
    made = read_gate(gate, code=str(place))
    assert (made.name, made.push) == (f"{place}:Mine", 2.0)
    config = load_recipe("gssl")
    method = config.stages[0].method
    pretexts = dataclasses.replace(method.pretexts, gate=made)
    stage = dataclasses.replace(config.stages[0], method=dataclasses.replace(method, pretexts=pretexts))
    config = dataclasses.replace(config, stages=(stage,))
    digest = config_digest(config)
    place.write_text(GATE_FILE + "# edited\n")
    assert config_digest(config) != digest


def test_from_json__method_of_a_file__runs_it_only_when_that_file_is_allowed(recipe_file, tmp_path):
    config = load_recipe(str(recipe_file))
    text = to_json(config)
    assert f"{recipe_file}:Mine.Config" in text
    other = tmp_path / "other.py"
    other.write_text("raise SystemExit('ran')")
    for code in (None, str(other), "mine.py"):
        with pytest.raises(ConfigError, match=r"your leave to run what is outside auxo, got .*mine\.py: pass --code"):
            from_json(text, origin="x", code=code)
    for code in (str(recipe_file), f"{recipe_file}:recipe"):
        again = from_json(text, origin="x", code=code)
        assert to_json(again) == text
        assert again.stages[0].method.strength == 0.25


def test_from_json__file_without_the_method__is_told(recipe_file):
    text = to_json(load_recipe(str(recipe_file)))
    recipe_file.write_text("Mine = 3")
    with pytest.raises(ConfigError, match=r"a subclass of MethodConfig called Mine\.Config in .*mine\.py, got none"):
        from_json(text, origin="x", code=str(recipe_file))


def test_config_digest__anything_that_changes_numbers__changes_it():
    config = load_recipe("ossl")
    digest = config_digest(config)
    assert config_digest(load_recipe("ossl")) == digest
    logged = dataclasses.replace(config, training=TrainingConfig(log_every=7, keep_checkpoints=5))
    assert config_digest(logged) == digest
    seeded = dataclasses.replace(config, seed=1)
    stage = dataclasses.replace(config.stages[0], epochs=16)
    assert len({digest, config_digest(seeded), config_digest(dataclasses.replace(config, stages=(stage,)))}) == 3


@pytest.mark.parametrize(("keep", "differs"), [("best", True), ("last", False)])
def test_config_digest__how_often_to_evaluate__counts_where_the_best_is_kept(keep, differs):
    config = load_recipe("ossl")
    stage = dataclasses.replace(config.stages[0], selection=SelectionRule(keep=keep))
    config = dataclasses.replace(config, stages=(stage,))
    rarely = dataclasses.replace(config, training=dataclasses.replace(config.training, evaluate_every=3))
    assert (config_digest(config) != config_digest(rarely)) == differs


def test_config_digest__method_of_a_file__follows_its_text_and_not_its_place(recipe_file, tmp_path):
    digest = config_digest(load_recipe(str(recipe_file)))
    moved = tmp_path / "elsewhere.py"
    moved.write_text(recipe_file.read_text())
    assert config_digest(load_recipe(str(moved))) == digest
    moved.write_text(recipe_file.read_text() + "# edited\n")
    assert config_digest(load_recipe(str(moved))) != digest


def test_from_json__file_of_the_method_moved__takes_it_from_its_new_place(recipe_file, tmp_path):
    config = load_recipe(str(recipe_file))
    text, digest = to_json(config), config_digest(config)
    moved = recipe_file.rename(tmp_path / "elsewhere.py")
    with pytest.raises(ConfigError, match=r"got .*mine\.py: mine\.py is gone; pass --code with the new place"):
        from_json(text, origin="x")
    again = from_json(text, origin="x", code=str(moved))
    assert again.stages[0].method.strength == 0.25
    assert config_digest(again) == digest


@pytest.mark.parametrize(
    "names", [("warm-up", "warm_up"), ("data",), ("seed",), ("1st",), ("class",), ("a", "stages"), ("-",)]
)
def test_stages__names_that_cannot_begin_options__are_refused(names):
    with pytest.raises(ConfigError, match=r"a stage name|stages with different names"):
        ExperimentConfig(stages=tuple(StageConfig(method=Supervised.Config(), name=name) for name in names))


def test_experiment__unlabelled_pictures_that_no_stage_uses__are_refused():
    data = DataConfig(train="photos", unlabelled="more")
    with pytest.raises(ConfigError, match="a method that trains on unlabelled images, got supervised"):
        ExperimentConfig(stages=(StageConfig(method=Supervised.Config()),), data=data)
    assert ExperimentConfig(stages=(StageConfig(method=FixMatch.Config()),), data=data).data == data


@pytest.mark.parametrize(
    "document", [{}, {"run": {}}, {"run": {"stages": [{}]}}, {"run": {"stages": [{"selection": "x"}]}}]
)
def test_from_json__export_of_the_format_before_that_is_no_run__is_refused(document):
    with pytest.raises(ConfigError, match="a run of config format 1 in x, got another"):
        from_json(json.dumps({"format": 1, **document}), origin="x", is_published=True)


def published(method, **options):
    """The JSON of an export of format 2, with a run of one stage."""
    stage = {"method": {"type": method, **options}, "selection": {"keep": "last"}}
    return json.dumps({"format": 2, "auxo": "0.1.0", "run": {"stages": [stage]}})


def test_from_json__export_of_the_method_rotation__is_joint_training_with_that_pretext():
    text = published("rotation", rotation="random", rotation_weight=0.5, shared_upright=False)
    config = from_json(text, origin="x", is_published=True)
    expected = JointTraining.Config(pretext=Rotation("random"), pretext_weight=0.5)
    assert [stage.method for stage in config.trained_stages] == [expected]


def test_from_json__export_of_a_gated_mixture__has_lorot_where_it_had_rotation_in_the_order_of_that_time():
    text = published("gssl", pretexts={"tasks": ["channel_shuffle", "rotation", "flip"]})
    (stage,) = from_json(text, origin="x", is_published=True).stages
    assert stage.method.pretexts.tasks == ("flip", "lorot", "channel_shuffle")


def test_from_json__export_with_a_pretext_of_two_views__has_its_options_alone():
    text = published("pretrain", pretext={"name": "byol", "hidden": 16, "temperature": 0.5, "momentum": 0.9})
    (stage,) = from_json(text, origin="x", is_published=True).stages
    assert stage.method.pretext == BYOL.Config(hidden=16, momentum=0.9)


def test_stages__called_scratch__is_refused():
    with pytest.raises(ConfigError, match="a stage name that means nothing else yet, got 'scratch'"):
        ExperimentConfig(stages=(StageConfig(method=Supervised.Config(), name="scratch"),))
