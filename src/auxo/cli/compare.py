"""``auxo compare``: methods side by side, over seeds, at equal compute."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import tyro

from auxo.cli.changes import read_options
from auxo.cli.early import is_shared
from auxo.cli.executor import ExecutorOptions
from auxo.cli.options import split_words
from auxo.cli.outcomes import OutcomePrinter, print_failures
from auxo.cli.terminal import print_table
from auxo.cli.train import describe_numbers, recipe_name, say_notes, with_options
from auxo.cli.words import say
from auxo.comparison import (
    Choice,
    Comparison,
    Contents,
    Grid,
    Question,
    Result,
    choose_measure,
    compare_results,
    difference_tables,
    notes_of,
    plan_grid,
    read_contents,
    read_margins,
    read_result,
    read_results,
    require_one_setting,
    result_tables,
    with_epochs,
    write_contents,
    write_files,
)
from auxo.errors import CheckpointError, ConfigError
from auxo.files import make_folder
from auxo.files.lock import locked_folder
from auxo.jobs import AbstractExecutor, Outcome, check_jobs, run_jobs
from auxo.options import Options as CheckedOptions
from auxo.registry import load
from auxo.runs.document import find_controlled, load_recipe
from auxo.runs.networks import record_backbones
from auxo.runs.results import PRIMARY
from auxo.runtime import open_runtime

DESCRIPTION = """Train methods on one scenario over several seeds, all for equally many floating-point operations, and
write a table with intervals of their differences. SCENARIO is a name of auxo list scenarios, or left out with
--data.train. All options of auxo train that begin with --task., --data., --backbone., --training., --runtime. or
--device hold for every method. The same command again goes on where it was stopped; with other methods or seeds it adds
them."""

_MOST_SEEDS = 10_000  # of one range: a slip of the keyboard such as 0-99999999 would fill the memory


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo compare``."""

    methods: tuple[str, ...]
    """What to compare, with commas or spaces between: names of auxo list methods, or files of yours,
    my_method.py:recipe."""
    seeds: str = "5"
    """How many seeds, from 0; or which ones, such as 0,3,8 or 5-9."""
    baseline: str | None = None
    """The method that the others are compared with, or several, with commas between; default the first."""
    contrasts: str = ""
    """Which differences to test, as METHOD:BASELINE with commas between; default each method with each baseline and
    with its control, and no control with a baseline."""
    controls: str = ""
    """Which methods are controls of which, as CONTROL=METHOD with commas between, beside those whose recipes say so."""
    endpoint: str | None = None
    """The test set that decides, "elsewhere" for the mean over those from elsewhere; default that, or the only one from
    elsewhere, or test. All other sets are exploratory."""
    margin: str | None = None
    """Difference that does not matter, in points, for measures in percent, and NAME=VALUE for others, with commas
    between; default 1."""
    looks: int | None = None
    """Tables of more and more seeds that you plan to look at; default 1. Each is tested at that part of 5 %."""
    group: str | None = None
    """Further column of the test images, such as writer or patient, whose values are taken for drawn, as seeds are;
    default --data.block-column. Read it with --data.columns."""
    measure: str = PRIMARY
    """What to show, with commas between: "primary" for the measure that decides, or names such as nll or
    worst_group/background."""
    budget: Literal["equal", "recipe"] = "equal"
    """Equal operations for every run, by as many epochs as they take, or every method as long as its recipe says."""
    flops: float | None = None
    """Floating-point operations of every run; default those of the costliest method at its recipe's length."""
    epochs: int | None = None
    """Epochs that stand for the recipe's in its last stage, those of other stages in proportion, >= 1."""
    where: Annotated[ExecutorOptions, tyro.conf.arg(name="")] = field(default_factory=ExecutorOptions)
    """Where runs are made."""
    moved: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """OLD=NEW: what options name as for the runs that are there is at another place now; repeat it for several."""
    out: str | None = None
    """Folder of the comparison; default runs/compare-SCENARIO."""


class _Request(NamedTuple):
    """What the words ask for."""

    options: Options
    title: str
    measures: list[str]
    question: Question
    seeds: list[int]
    choices: list[Choice]
    notes: list[str]
    executor: AbstractExecutor
    out: Path


def run(words: Sequence[str]) -> int:
    """Make the runs, print and write the tables, and return 1 if a run failed, else 0."""
    asked = _read_words(list(words))
    options, out = asked.options, asked.out
    earlier = read_contents(out)
    _check_names(asked.question, asked.choices, earlier)
    require_one_setting(asked.choices, earlier, out=out)
    names = ", ".join(choice.name for choice in asked.choices)
    seeds = f"{len(asked.seeds)} seed{'s' if len(asked.seeds) > 1 else ''}"
    say(f"comparing {names} on {asked.title}, {seeds}, in {out}", flush=True)
    say_notes(asked.notes)
    with open_runtime(asked.choices[0].config.runtime) as runtime:
        grid = plan_grid(
            asked.choices,
            asked.seeds,
            earlier=earlier,
            title=asked.title,
            budget=options.budget,
            flops=options.flops,
            folder=out,
            runtime=runtime,
            epochs=options.epochs,
            measures=asked.measures,
            question=asked.question,
        )
    check_jobs(grid.jobs)
    asked.executor.check()
    with locked_folder(make_folder(out)):
        write_contents(out, grid.contents)
        _say_plan(grid)
        printer = OutcomePrinter(len(grid.jobs), lambda outcome: _describe_run(outcome, asked.measures[0]))
        outcomes = run_jobs(grid.jobs, executor=asked.executor, on_outcome=printer)
        results = read_results(out, grid.contents)
        contents = grid.contents.looked_at((result.method, result.seed) for result in results)
        declared = None if contents.declaration is None else contents.declaration.group
        group = declared or _find_blocks(asked.choices[0], results)
        comparison = compare_results(contents, results, measures=asked.measures, group=group)
        write_contents(out, contents)  # before anybody sees the tables, so that no look is lost
        files = write_files(comparison, out)
    _print_results(comparison)
    has_failures = print_failures(outcomes)
    say("files: " + "\n       ".join(str(path) for path in files))
    return int(has_failures)


def _read_words(words: list[str]) -> _Request:
    """Return what the words ask for; nothing is looked for but recipes."""
    scenario, options, shared = _parse_words(words)
    title, choices = scenario or "own", _list_choices(scenario, options, shared)
    return _Request(
        options,
        title,
        _split_measures(options.measure),
        _read_question(options),
        _parse_seeds(options.seeds),
        choices,
        [note for each in choices for note in describe_numbers(each.recipe, each.config.data, shared)],
        options.where.build(),
        Path(options.out or f"runs/compare-{title}"),
    )


def _parse_words(words: list[str]) -> tuple[str | None, Options, list[str]]:
    """Return the scenario, the options of this command and the words for the recipes."""
    scenario = words.pop(0) if words and not words[0].startswith("-") else None
    own, shared = split_words(words, lambda flag: not is_shared(flag))
    usage = "auxo compare SCENARIO" if scenario is None else f"auxo compare {scenario}"
    options = read_options(Options, own, command=usage, description=DESCRIPTION)
    is_own = any(word.partition("=")[0] == "--data.train" for word in shared)
    if any(word.partition("=")[0] == "--data.scenario" for word in shared):
        raise ConfigError("the scenario as the first word", "--data.scenario", "auxo compare SCENARIO --methods ...")
    if (scenario is None) != is_own:
        got = f"both, {scenario} and --data.train" if is_own else "neither"
        raise ConfigError("a scenario or --data.train", got, "auxo compare digits --methods supervised,rotation")
    if scenario is not None:
        load("data.scenarios", scenario)
    return scenario, options, shared


def _split_measures(text: str) -> list[str]:
    """Return the measures that a text names, each once."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError("measures, with commas between", repr(text), "--measure primary,nll")
    return names


def _parse_seeds(text: str) -> list[int]:
    """Return the seeds that a text names: a number of them, a list or ranges."""
    text, seeds = text.strip(), list[int]()
    if re.search(r"\d{20}", text):  # Python makes no number of thousands of digits
        raise ConfigError("seeds below 2^63", repr(text[:40]), "name smaller ones")
    for part in text.split(",") if re.search(r"[,-]", text) else [f"0-{int(text) - 1}" if text.isdecimal() else text]:
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if found is None or int(found[2] or found[1]) < int(found[1]):
            fix = "5 means the seeds 0 to 4, and 0-0 seed 0 alone"
            raise ConfigError("seeds such as 5, 0,3,8 or 5-9", repr(text), fix)
        first, last = int(found[1]), int(found[2] or found[1])
        if last >= 2**63 or last - first >= _MOST_SEEDS:
            fix = "name fewer, or smaller ones"
            raise ConfigError(f"at most {_MOST_SEEDS} seeds, each below 2^63", repr(text[:40]), fix)
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise ConfigError("seeds that differ", repr(text), "name each once")
    return seeds


def _list_choices(scenario: str | None, options: Options, shared: list[str]) -> list[Choice]:
    """Return the methods with the settings that all of them have."""
    recipes = [recipe.strip() for word in options.methods for recipe in word.split(",") if recipe.strip()]
    if not recipes:
        got = " ".join(options.methods) or "none"
        raise ConfigError("methods, with commas between", got, "--methods supervised,rotation")
    choices: dict[str, Choice] = {}
    for recipe in recipes:
        config = load_recipe(recipe)
        if scenario is not None:
            config = replace(config, data=replace(config.data, scenario=scenario))
        if options.epochs is not None:
            config = with_epochs(config, options.epochs)
        config = with_options(config, shared, command="auxo compare") if shared else config
        config = record_backbones(config)
        name = _name_method(recipe)
        if name in choices:
            fix = "call the files differently" if ".py" in recipe else "name each once"
            raise ConfigError("methods of different names", f"{name} twice", fix)
        choices[name] = Choice(name, recipe, config, find_controlled(recipe))
    return list(choices.values())


def _name_method(recipe: str) -> str:
    """Return what a method is called in the table: its recipe's module or file, and the function if it has another."""
    function = recipe.partition(":")[2]
    return recipe_name(recipe) + (f"-{function}" if function not in ("", "recipe") else "")


def _read_question(options: Options) -> Question:
    """Return what the comparison is asked."""
    contrasts = []
    for text in _split_names(options.contrasts):
        method, colon, baseline = (part.strip() for part in text.partition(":"))
        if not (method and colon and baseline) or ":" in baseline:
            raise ConfigError(
                "contrasts such as ossl:rotation, by the names of the table", repr(text), "name two methods"
            )
        contrasts.append((method, baseline))
    controls = {}
    for text in _split_names(options.controls):
        control, sign, method = (part.strip() for part in text.partition("="))
        if not (control and sign and method) or control in controls or control == method:
            raise ConfigError("controls such as gssl-transform_only=gssl", repr(text), "name each control once")
        controls[control] = method
    if options.margin is not None:
        read_margins(options.margin)
    if options.looks is not None and options.looks < 1:
        raise ConfigError("looks >= 1", str(options.looks), "name how many tables you will look at")
    baselines = tuple(_split_names(options.baseline or ""))
    return Question(
        baselines, tuple(contrasts), controls, options.endpoint, options.margin, options.looks, options.group
    )


def _split_names(text: str) -> list[str]:
    """Return what stands between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_names(question: Question, choices: Sequence[Choice], earlier: Contents | None) -> None:
    """Refuse contrasts and controls of what is not compared."""
    known = dict.fromkeys([*(earlier.methods if earlier is not None else ()), *(choice.name for choice in choices)])
    for word, names in (
        ("a baseline", question.baselines),
        ("contrasts", [name for pair in question.contrasts for name in pair]),
        ("controls", [name for pair in (question.controls or {}).items() for name in pair]),
    ):
        got = next((name for name in names if name not in known), None)
        if got is not None:
            raise ConfigError(f"{word} among {', '.join(known)}", repr(got), "name one of them")


def _find_blocks(choice: Choice, results: Sequence[Result]) -> str | None:
    """Return the column of blocks, if there is one and runs recorded what they achieved by it."""
    column = choice.config.data.block_column
    return column if any(column in row.parts for result in results for row in result.rows.values()) else None


def _say_plan(grid: Grid) -> None:
    """Print how long the runs are."""
    contents = grid.contents
    if contents.flops is None:
        say(f"budget: none; {contents.chosen}")
    else:
        say(f"budget: {contents.flops:.4g} floating-point operations a run, {contents.chosen}")
    epochs = {job.name.rpartition("-seed")[0]: job.config.stages for job in grid.jobs}
    told = [f"{name} {'+'.join(str(stage.epochs) for stage in stages)}" for name, stages in epochs.items()]
    say("epochs: " + ", ".join(told), flush=True)
    say_notes(grid.notes)


def _describe_run(outcome: Outcome, name: str) -> str:
    """Return a measure on the first test set of a run that has it."""
    try:
        result = read_result(outcome.job.folder, method=outcome.job.name, seed=outcome.job.config.seed)
        shown = choose_measure(result.rows.values(), name)
    except (CheckpointError, ConfigError):  # it is told with the table, when all runs are made
        return "no measure" if name == PRIMARY else f"no {name}"
    split, row = next((split, row) for split, row in result.rows.items() if shown.name in row.measures)
    return f"{shown.title} {row.measures[shown.name].describe()}" + ("" if split == "test" else f" on {split}")


def _print_results(comparison: Comparison) -> None:
    """Print the tables of results and differences, and the notes."""
    if not comparison.results:
        say("no run is finished, so there is no table")
        return
    for table in (*result_tables(comparison), *difference_tables(comparison)):
        print_table(table)
    for note in notes_of(comparison):
        say(f"note: {note}")
