"""``auxo sweep``: search over options of a run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro

from auxo.cli.changes import read_options
from auxo.cli.executor import ExecutorOptions
from auxo.cli.outcomes import OutcomePrinter, print_failures
from auxo.cli.terminal import print_table
from auxo.cli.train import describe_numbers, recipe_name, say_notes, with_options
from auxo.cli.words import say
from auxo.errors import ConfigError
from auxo.evaluation import title_measure
from auxo.files import make_folder
from auxo.files.lock import locked_folder
from auxo.jobs import AbstractExecutor, Outcome
from auxo.options import Options as CheckedOptions
from auxo.options import Range
from auxo.runs.document import load_recipe, outside_files
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.selection import SelectionRule
from auxo.runtime import open_runtime
from auxo.sweep import (
    SAMPLERS,
    Contents,
    SearchSpace,
    Strategy,
    Sweep,
    check_builds,
    check_contents,
    contents_of,
    judged_table,
    make_trials,
    open_study,
    parse_space,
    read_sweep,
    read_trial,
    require_optuna,
    trial_table,
    write_contents,
    write_files,
)

DESCRIPTION = f"""Search over options of a run: many trials are made, the best on the validation images is chosen, and
it alone is judged on test images. SAMPLER is {SAMPLERS}. Options of auxo train RECIPE hold for all trials; --seed also
decides which values are tried. The same command again goes on where it was stopped; with more --trials it adds more."""

_MOST_SHOWN = 10
_FEW_TRIALS = 20


@dataclass(frozen=True, kw_only=True)
class _TrialSelection:
    """What chooses among trials, and in a run of one stage that keeps the best also among checkpoints.

    With ``selection.keep two_step`` trials, too, are first kept by its test.
    """

    measure: str | None = None
    """Measure that decides: "primary" for the task's own, or a name such as nll or worst_group/background."""
    head: str | None = None
    """Head that is measured: "first" for the one that predicts, or the name of another head or of a pretext."""
    tie_break: str | None = None
    """Measure that decides between equals, where there is one of this name; after it the earlier trial wins."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo sweep``."""

    search: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FIELD=SAMPLER ...")] = ()
    """What varies: options as auxo train calls them, such as epochs=int:5,20; default what the method declares."""
    trials: Annotated[int | None, Range(low=1)] = None
    """Runs in all, with those that failed; default 20, or the whole grid."""
    sampler: Strategy = "tpe"
    """How values are chosen: by those that did well (tree-structured Parzen estimator), at random, or all in turn."""
    selection: _TrialSelection = field(default_factory=_TrialSelection)
    """What decides on the validation images."""
    where: Annotated[ExecutorOptions, tyro.conf.arg(name="")] = field(default_factory=ExecutorOptions)
    """Where runs are made."""
    moved: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """OLD=NEW: what options name as for the runs that are there is at another place now; repeat it for several."""
    out: str | None = None
    """Folder of the sweep; default runs/sweep-RECIPE-SCENARIO."""


class _Request(NamedTuple):
    """What the words ask for."""

    options: Options
    contents: Contents
    space: SearchSpace
    rule: SelectionRule
    num_trials: int
    executor: AbstractExecutor
    out: Path
    notes: tuple[str, ...]


def run(words: Sequence[str]) -> int:
    """Make the trials, print and write what they found, and return 1 if one failed, else 0."""
    asked = _read_words(list(words))
    space, out = asked.space, asked.out
    require_optuna()
    check_contents(out, asked.contents)
    asked.executor.check()
    with open_runtime(space.config.runtime) as runtime:
        objective = check_builds(space, asked.rule, runtime=runtime)
    searched = ", ".join(f"{path}={sampler}" for path, sampler in space.describe().items())
    say(f"searching {searched}\n{asked.num_trials} trials ({asked.options.sampler}) in {out}", flush=True)
    say_notes(asked.notes)
    outcomes: list[Outcome] = []
    printer = OutcomePrinter(asked.num_trials, lambda outcome: _describe_trial(outcome, asked.rule))

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        printer(outcome)

    with locked_folder(make_folder(out)):
        write_contents(out, asked.contents)
        strategy = asked.options.sampler
        study = open_study(out, space, strategy=strategy, objective=objective, seed=space.config.seed)
        make_trials(study, out, num_trials=asked.num_trials, executor=asked.executor, on_outcome=tell)
        sweep = read_sweep(study, out)
        files = write_files(sweep)
    _print_results(sweep)
    has_failures = print_failures(outcomes)
    say("files: " + "\n       ".join(str(path) for path in files))
    return int(has_failures)


def _read_words(words: list[str]) -> _Request:
    """Return what the words ask for; nothing is looked for but the recipe."""
    recipe, options, shared = _parse_words(words)
    config = load_recipe(recipe)
    config = with_options(config, shared, command=f"auxo sweep {recipe}") if shared else config
    notes = describe_numbers(recipe, config.data, shared)
    config, rule = _with_rule(config, options.selection)
    space = parse_space(config, options.search)
    num_trials = _num_trials(options, space)
    contents = contents_of(space, recipe=recipe, strategy=options.sampler, rule=rule)
    title = f"{recipe_name(recipe)}-{config.data.scenario if config.data.train is None else 'own'}"
    out = Path(options.out or f"runs/sweep-{title}")
    return _Request(options, contents, space, rule, num_trials, options.where.build(), out, notes)


def _with_rule(config: ExperimentConfig, given: _TrialSelection) -> tuple[ExperimentConfig, SelectionRule]:
    """Return the run and the rule that chooses among its trials: the last stage's with what was given.

    A run of one stage that keeps the best checkpoint gets it too: there the options are the stage's own.
    """
    last = config.stages[-1]
    changes = {item.name: value for item in fields(given) if (value := getattr(given, item.name)) is not None}
    rule = replace(last.selection, **changes)
    if len(config.stages) == 1 and rule.keeps_best:
        config = replace(config, stages=(replace(last, selection=rule),))
    return config, rule


def _parse_words(words: list[str]) -> tuple[str, Options, list[str]]:
    """Return the recipe, the options of this command and the words for the recipe."""
    recipe = words.pop(0) if words and not words[0].startswith("-") else None
    names = {"search", *(item.name for part in (Options, ExecutorOptions) for item in fields(part)), "help"}
    flags = {f"--{name.replace('_', '-')}" for name in names - {"where", "selection"}} | {"-h"}
    flags |= {f"--selection.{item.name.replace('_', '-')}" for item in fields(_TrialSelection)}
    own: list[str] = []
    shared: list[str] = []
    searched: list[str] = []
    current = shared
    for word in words:
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        if word.startswith("-") and not re.match(r"-[\d.]", word):
            current = searched if flag == "--search" else own if flag in flags else shared
        if flag == "--search":  # several of them count together
            searched += [value] if equals else []
        else:
            current.append(word)
    usage = "auxo sweep RECIPE" if recipe is None else f"auxo sweep {recipe}"
    if searched or "--search" in words:
        own += ["--search", *searched]
    options = read_options(Options, own, command=usage, description=DESCRIPTION)
    if recipe is None:
        raise ConfigError("a recipe as the first word", "none", "auxo sweep supervised --trials 20")
    refused = [word for word in shared if word.partition("=")[0] in ("--config", "--resume", "--code")]
    if refused:
        raise ConfigError("a recipe and its options", refused[0], "name a method, or a file.py:function, first")
    return recipe, options, shared


def _num_trials(options: Options, space: SearchSpace) -> int:
    """Return how many trials there are to be."""
    if options.sampler == "grid":
        size = len(space.grid())
        return size if options.trials is None else min(size, options.trials)
    return _FEW_TRIALS if options.trials is None else options.trials


def _describe_trial(outcome: Outcome, rule: SelectionRule) -> str:
    """Return what a trial achieved on the validation images."""
    score = read_trial(outcome.job.folder, rule).score
    names = [name for name in (score.name, score.tie_break) if name is not None]
    return "val " + ", ".join(f"{title_measure(name)} {score.row.measures[name].describe()}" for name in names)


def _print_results(sweep: Sweep) -> None:
    """Print the best trials, what mattered, and what the chosen one achieves on test sets."""
    if sweep.best is None:
        say("no trial is finished, so none is chosen")
        return
    print_table(trial_table(sweep, most=_MOST_SHOWN))
    shares = sweep.study.importances()
    if shares:
        say("what mattered: " + ", ".join(f"{path} {share:.2f}" for path, share in shares.items()))
    values = ", ".join(f"{path}={value}" for path, value in sweep.best.values.items())
    say(f"chosen: {sweep.best.name}, {values}")
    judged = judged_table(sweep)
    if judged is not None:
        print_table(judged)
    else:
        say("no test set, so it is not judged")
    files = outside_files(sweep.study.space.config)
    allowed = "".join(f" --code {file}" for file in files)
    say(f"train it again: auxo train --config {sweep.folder / 'best.json'}{allowed}")
