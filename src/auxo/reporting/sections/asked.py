"""What was asked of the runs: methods, data, stages, seeds, and the options that are not a recipe's own."""

from collections.abc import Sequence
from typing import NamedTuple

from auxo.errors import AuxoError
from auxo.interfaces import PretextMethodConfig
from auxo.registry import entries
from auxo.registry.outside import short_name
from auxo.reporting.blocks import Numbers, Section, SectionPart
from auxo.reporting.judgement import Judgement
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.words import counted, listed
from auxo.runs.document import load_recipe
from auxo.runs.doubts import find_doubts
from auxo.runs.experiment import ExperimentConfig, StageConfig, method_name, named_options


def asked_section(runs: Sequence[RunRecord], judgements: Sequence[Judgement]) -> Section:
    """Return what was asked.

    Args:
        runs: at least one.
        judgements: one per run.
    """
    facts = [_list_facts(run, judgement) for run, judgement in zip(runs, judgements, strict=True)]
    defaults = [find_default(run.config) for run in runs]
    options, whose = _find_changed_options(runs, defaults), _name_defaults(defaults)
    lines = [(key, *(each[key] for each in facts)) for key in facts[0]]
    if len(runs) == 1:
        blocks = [_make_word_table("What the run is", ["", "value"], lines, is_open=True)]
        blocks += [_make_word_table(f"Options that are not at {whose}", ["option", "value"], options)]
    else:
        same, different = _split_shared_lines(lines)
        shared, apart = _split_shared_lines(options)
        names = [run.name for run in runs]
        blocks = [
            _make_word_table("The same in all runs", ["", "value"], same, is_open=True),
            _make_word_table("Where the runs differ", ["", *names], [*apart, *different], is_open=True),
            _make_word_table(f"Options that are not at {whose}, the same in all runs", ["option", "value"], shared),
        ]
    sentences = [_count_runs(runs), _of_options(options, whose)]
    return Section("asked", "What was asked", [SectionPart("", sentences, [block for block in blocks if block.lines])])


def _split_shared_lines(lines: Sequence[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the lines whose values are the same in all runs, with one of them, and the others."""
    same = [line[:2] for line in lines if len(set(line[1:])) == 1]
    return same, [line for line in lines if len(set(line[1:])) > 1]


def _of_options(options: Sequence[Sequence[str]], whose: str) -> str:
    """Return how many options are not at their defaults, whose those are, and in which the runs differ."""
    if not options:
        return f"Every option is at {whose}."
    names = [name for name, *values in options if len(set(values)) > 1]
    between = f" The runs differ in {listed(names)}." if names else ""
    verb, where = "is" if len(options) == 1 else "are", " in some run" if names else ""
    return f"{counted(len(options), 'option')} {verb} not at {whose}{where}.{between}"


def _make_word_table(
    caption: str, columns: Sequence[str], lines: Sequence[Sequence[str]], *, is_open: bool = False
) -> Numbers:
    """Return a table whose cells are words."""
    return Numbers(caption, columns, lines, is_open=is_open, has_words=True)


def _count_runs(runs: Sequence[RunRecord]) -> str:
    """Return how many runs of which methods on which data."""
    methods = list(dict.fromkeys(run.methods for run in runs))
    backbones = list(dict.fromkeys(short_name(run.config.backbone.name) for run in runs))
    data = list(dict.fromkeys(run.data for run in runs))
    seeds = sorted({run.config.seed for run in runs})
    return (
        f"{counted(len(runs), 'run').capitalize()} of {listed(methods)} on {listed(backbones)}, "
        f"trained on {listed(data)} with seed{'s' if len(seeds) > 1 else ''} {listed([str(seed) for seed in seeds])}."
    )


def _list_facts(run: RunRecord, judgement: Judgement) -> dict[str, str]:
    """Return what a run is, by what is asked."""
    config, selection = run.config, run.history.selection
    stages = "; ".join(_describe_stage(stage, is_only=len(config.stages) == 1) for stage in config.stages)
    sets = {row.split: f"{row.split} {row.n:,}" for row in run.history.rows if row.kind == "task"}
    elsewhere = f" and {listed(config.data.ood)}" if config.data.ood else ""
    chosen = selection.describe() if selection else "last epoch; nothing was selected"
    chosen = "; ".join([chosen, *(text.removesuffix(".") for text in run.history.describe_course())])
    return {
        "stages": stages,
        "backbone": short_name(config.backbone.name) + (" (published weights)" if config.backbone.pretrained else ""),
        "data": run.data + elsewhere,
        "task": short_name(config.task.name) + (f", {listed(judgement.answers)}" if judgement.answers else ""),
        "judged on": listed(list(sets.values())) or "nothing; no head predicts",
        "seed": str(config.seed),
        "checkpoint": chosen,
        "doubts": "; ".join(find_doubts(run.history)) or "none",
        "folder": str(run.folder),
        "made with": f"auxo {run.version}",
        "digests of images": listed([f"{name} {digest}" for name, digest in judgement.data.items()]) or "none",
    }


def _describe_stage(stage: StageConfig, *, is_only: bool) -> str:
    """Return what a stage does."""
    start = f", from {listed(stage.sources)}" if stage.sources else ""
    budget = f"{counted(stage.epochs, 'epoch')} of batches of {stage.batch_size}{start}"
    return f"{method_name(stage)}, {budget}" if is_only else f"{stage.name} ({method_name(stage)}), {budget}"


class RecipeDefault(NamedTuple):
    """What a run is held against.

    Args:
        recipe: its name; empty where the run is held against the defaults of its parts.
        options: every option's value by its name.
    """

    recipe: str
    options: dict[str, str]


def _name_defaults(defaults: Sequence[RecipeDefault]) -> str:
    """Return whose the defaults are."""
    recipes = list(dict.fromkeys(each.recipe for each in defaults))
    if "" in recipes:
        return "the default" if len(recipes) == 1 else "their recipe's default"
    return f"the default of the recipe {recipes[0]}" if len(recipes) == 1 else "their recipe's default"


def _find_changed_options(runs: Sequence[RunRecord], defaults: Sequence[RecipeDefault]) -> list[tuple[str, ...]]:
    """Return the options that are not at their defaults in some run or differ between runs, with every run's value."""
    chosen = [_name_options(run.config) for run in runs]
    names = dict.fromkeys(name for options in chosen for name in options if name != "seed")
    return [
        (name, *(options.get(name, "-") for options in chosen))
        for name in names
        if len({options.get(name, "-") for options in chosen}) > 1
        or any(
            name in own and own[name] != default.options.get(name)
            for own, default in zip(chosen, defaults, strict=True)
        )
    ]


def find_default(config: ExperimentConfig) -> RecipeDefault:
    """Return the recipe of the same stages that is most like the run, if there is one, else the defaults of its parts.

    A run does not say which recipe it was made by, and several train one method: ``finetune`` and ``supervised``.

    Args:
        config: of the run.
    """
    shape, own = _describe_shape(config), _name_options(config)
    recipes = {name: load_recipe(name) for name in (*entries("methods"), *entries("recipes"))}
    same = [
        RecipeDefault(name, _name_options(each)) for name, each in recipes.items() if _describe_shape(each) == shape
    ]
    if same:
        return min(same, key=lambda each: sum(each.options.get(name) != value for name, value in own.items()))
    stages = tuple(_plain_stage(stage) for stage in config.stages)
    trains = any(stage.method.needs_pretext for stage in stages if isinstance(stage.method, PretextMethodConfig))
    plain = ExperimentConfig(stages=stages, pretext=config.pretext if trains else None)
    return RecipeDefault("", _name_options(plain))


def _describe_shape(config: ExperimentConfig) -> list[tuple[str, type]]:
    """Return names and methods of the stages."""
    return [(stage.name, type(stage.method)) for stage in config.stages]


def _plain_stage(stage: StageConfig) -> StageConfig:
    """Return a stage with the defaults of its method, as far as that has any."""
    try:
        method = type(stage.method)()
        if isinstance(method, PretextMethodConfig) and isinstance(stage.method, PretextMethodConfig):
            method = method.with_pretext(stage.method.pretext)
    except (TypeError, AuxoError):  # a method of the user's whose options have no defaults
        method = stage.method
    return StageConfig(method=method, name=stage.name, start_from=stage.start_from, transfers=stage.transfers)


def _name_options(config: ExperimentConfig) -> dict[str, str]:
    """Return every option's value by the name it has at the command line."""
    return {name: _format_option(option.value) for name, option in named_options(config).items()}


def _format_option(value: object) -> str:
    """Return an option's value as it is typed."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)
