"""What is to be run, and what a folder of earlier runs allows."""

import json
from dataclasses import replace

import pytest

from auxo.comparison import (
    Choice,
    Contents,
    Contrast,
    Declaration,
    MethodEntry,
    Question,
    plan_grid,
    read_contents,
    require_one_setting,
    write_contents,
)
from auxo.comparison.folder import shared_settings
from auxo.data import DataConfig
from auxo.errors import CheckpointError, ConfigError
from auxo.optimizers import TuningConfig
from auxo.runs.document import load_recipe
from auxo.runtime import RuntimeConfig, open_runtime

from ..training.run_here import rows, run_here

RAISING = """
from dataclasses import dataclass, replace
from auxo.runs.document import load_recipe
from auxo.methods.supervised import Supervised


class Raising(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        pass

    def __init__(self, config, networks):
        raise TypeError("not today")


def recipe():
    run = load_recipe("supervised")
    return replace(run, stages=(replace(run.stages[0], method=Raising.Config()),))
"""


@pytest.fixture
def choose(shapes_folder):
    """A method on the images, for one epoch."""

    def choice(recipe, *, name=None):
        config = load_recipe(str(recipe))
        stages = tuple(replace(stage, epochs=1) for stage in config.stages)
        data, runtime = DataConfig(train=str(shapes_folder)), RuntimeConfig(device="cpu")
        return Choice(name or str(recipe), str(recipe), replace(config, stages=stages, data=data, runtime=runtime))

    return choice


@pytest.fixture
def plan(tmp_path):
    """Plan runs in a folder."""

    def made(
        *choices,
        seeds=(0, 1),
        earlier=None,
        budget="equal",
        flops=None,
        epochs=None,
        measures=("primary",),
        question=None,
    ):
        with open_runtime(choices[0].config.runtime) as runtime:
            return plan_grid(
                choices,
                seeds,
                earlier=earlier,
                title="own",
                budget=budget,
                flops=flops,
                folder=tmp_path,
                runtime=runtime,
                epochs=epochs,
                measures=measures,
                question=question or Question(),
            )

    return made


def test_plan_grid__two_methods__seed_after_seed_and_every_run_the_same_budget(plan, choose, tmp_path):
    grid = plan(choose("supervised"), choose("rotation"))
    names = ["supervised-seed0", "rotation-seed0", "supervised-seed1", "rotation-seed1"]
    assert [job.name for job in grid.jobs] == names
    assert [job.folder for job in grid.jobs] == [tmp_path / name for name in names]
    assert [job.config.seed for job in grid.jobs] == [0, 0, 1, 1]
    epochs = {job.name: job.config.stages[0].epochs for job in grid.jobs}
    assert epochs["rotation-seed0"] == epochs["rotation-seed1"] == 1
    assert epochs["supervised-seed0"] == epochs["supervised-seed1"] == 5  # one batch becomes five with its turns
    assert grid.contents.chosen == "those of rotation at its recipe's length"


def test_plan_grid__epochs_that_were_asked_for__the_budget_says_so(plan, choose):
    grid = plan(choose("supervised"), choose("rotation"), epochs=1)
    assert grid.contents.chosen == "those of rotation in 1 epoch"


def test_plan_grid__with_an_earlier_budget__a_costlier_method_gets_that(plan, choose):
    first = plan(choose("supervised"))
    second = plan(choose("rotation"), seeds=[2], earlier=first.contents)
    assert second.contents.flops == first.contents.flops
    assert second.contents.runs() == [("supervised", 0), ("supervised", 1), ("rotation", 2)]
    assert second.jobs[0].config.stages[0].epochs == 1


def test_plan_grid__given_operations__as_many_epochs(plan, choose):
    own = plan(choose("supervised")).contents.flops
    grid = plan(choose("supervised"), flops=own * 7)
    assert {job.config.stages[0].epochs for job in grid.jobs} == {7}


def test_plan_grid__frozen_at_first__counts_what_the_records_of_its_run_count(plan, choose, tmp_path):
    tuned = choose("supervised")
    tuning = TuningConfig(freeze_epochs=2, accumulate=2)
    stage = replace(tuned.config.stages[0], epochs=3, batch_size=16, tuning=tuning)
    tuned = replace(tuned, config=replace(tuned.config, stages=(stage,)))
    grid = plan(tuned, seeds=(0,))
    config = grid.jobs[0].config
    assert config.stages == (stage,)
    run_here(config, tmp_path / "run", None)
    assert grid.contents.flops == rows(tmp_path / "run", "end")[-1]["flops"]


def test_plan_grid__a_method_that_raises__keeps_its_length_and_is_noted(plan, choose, tmp_path):
    (tmp_path / "raising.py").write_text(RAISING)
    raising = choose(tmp_path / "raising.py", name="raising")
    grid = plan(choose("supervised"), raising)
    assert len(grid.jobs) == 4
    kept = "raising could not be measured and keeps its recipe's length (TypeError: not today)"
    assert grid.notes == (f"{kept}; the budget is that of the others",)
    assert grid.contents.chosen.endswith("length, chosen without raising, which could not be measured")
    with pytest.raises(ConfigError, match="TypeError: not today"):
        plan(raising)


def test_plan_grid__measure_that_no_test_set_has__refused_before_any_run(plan, choose):
    with pytest.raises(ConfigError, match=r"a measure of accuracy, nll, ece, macro, worst_class, got 'nil'"):
        plan(choose("supervised"), measures=("primary", "nil"))
    assert plan(choose("supervised"), measures=("ece", "nll")).jobs


def test_require_one_setting__methods_of_other_data__refused_by_option(choose, tmp_path):
    one, other = choose("supervised"), choose("rotation")
    require_one_setting([one, other], None, out=tmp_path)
    other = replace(other, config=replace(other.config, data=replace(other.config.data, augment="crop")))
    with pytest.raises(ConfigError, match=r"data.augment none in supervised, crop in rotation: give --data.augment"):
        require_one_setting([one, other], None, out=tmp_path)


def test_contents__written_and_read__equal(choose, tmp_path):
    shared = json.loads(json.dumps(shared_settings(choose("supervised").config)))
    contents = Contents("own", "equal", 1e9, "as given", shared, None, {"a": MethodEntry("a.py", 7, (0, 2))})
    write_contents(tmp_path / "new", contents)
    assert read_contents(tmp_path / "new") == contents
    assert read_contents(tmp_path / "absent") is None
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".comparison.json.0f0f0f0f.part").write_text("{")
    assert read_contents(tmp_path / "killed") is None
    added = contents.added({"b": MethodEntry("b", None, (1,)), "a": MethodEntry("a.py", 7, (1, 2))})
    assert added.runs() == [("a", 0), ("a", 1), ("a", 2), ("b", 1)]


def test_read_contents__something_else__refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigError, match="a new folder"):
        read_contents(tmp_path)
    with pytest.raises(ConfigError, match="a file"):
        read_contents(tmp_path / "notes.txt")
    for text in ("nonsense", "[]", '{"format": 3}', '{"format": 3, "auxo": "x", "methods": {}}'):
        (tmp_path / "comparison.json").write_text(text)
        with pytest.raises(CheckpointError, match="a comparison's description"):
            read_contents(tmp_path)


def test_contents__with_what_is_declared_and_looked_at__written_and_read_equal(tmp_path):
    declaration = Declaration("nll", "ood/a", "nll=0.1", 3, (Contrast("a", "b"), Contrast("b", "c", False)), "site")
    methods = {
        name: MethodEntry(name, None, (0, 1), controls) for name, controls in zip("abc", (None, "a", None), strict=True)
    }
    looks = ({"a": (0,), "b": (0,)}, {"a": (0, 1), "b": (0, 1), "c": (1,)})
    contents = Contents("own", "recipe", None, "as given", {}, 2, methods, declaration, looks, {"test": 0.125})
    write_contents(tmp_path / "new", contents)
    assert read_contents(tmp_path / "new") == contents
    path = tmp_path / "new" / "comparison.json"
    path.write_text(path.read_text().replace("nll=0.1", "nll=0"))
    with pytest.raises(CheckpointError, match=r"a margin in .*comparison.json, got 'nll=0'"):
        read_contents(tmp_path / "new")


def test_read_contents__without_a_record_of_tables__all_runs_count_as_seen(tmp_path):
    entry = {"recipe": "a", "num_parameters": None, "seeds": [0, 1]}
    described = {"title": "own", "budget": "recipe", "flops": None, "chosen": "", "shared": {}, "epochs": None}
    document = {"format": 2, "auxo": "0.2.0", **described, "methods": {"a": entry, "b": entry}}
    (tmp_path / "comparison.json").write_text(json.dumps(document))
    contents = read_contents(tmp_path)
    assert contents.looks == ({"a": (0, 1), "b": (0, 1)},)
    assert contents.declaration is None


def test_plan_grid__what_is_asked__declared_in_the_contents_and_an_endpoint_that_is_not_there_refused(plan, choose):
    control = replace(choose("supervised", name="off"), controls="rotation")
    methods = choose("supervised"), choose("rotation"), control
    contents = plan(*methods, question=Question(endpoint="test", margin="0.5")).contents
    declaration = contents.declaration
    # The test set is a part of the folder that every seed cuts anew, and nothing of it is left out.
    assert contents.redrawn == {"test": pytest.approx(1 / 8, abs=0.02)}
    assert contents.find_overlap("test") == contents.redrawn["test"]
    assert contents.find_overlap("mean elsewhere") == 0
    assert (declaration.split, declaration.margin) == ("test", "0.5")
    pairs = [(each.method, each.baseline, each.is_declared) for each in declaration.contrasts]
    assert pairs == [
        ("rotation", "supervised", True),
        ("rotation", "off", True),
        ("off", "supervised", False),
    ]
    with pytest.raises(ConfigError, match="an endpoint among test, got 'elsewhere'"):
        plan(choose("supervised"), question=Question(endpoint="elsewhere"))
    says = "a further column of the test images, got 'writer'; the sets have label: read it with --data.columns writer"
    with pytest.raises(ConfigError, match=says):
        plan(choose("supervised"), question=Question(group="writer"))


def test_read_contents__of_an_older_version__refused_and_that_version_named(tmp_path):
    path = tmp_path / "comparison.json"
    path.write_text('{"format": 1, "auxo": "0.1.0", "title": "own", "methods": {}}')
    with pytest.raises(CheckpointError) as error:
        read_contents(tmp_path)
    fix = "auxo 0.1.0 wrote it; use that version or another --out"
    assert str(error.value) == f"expected a comparison of format 3 in {path}, got format 1: {fix}"
