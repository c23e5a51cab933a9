"""``auxo train``: make or continue a run."""

from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from auxo.cli.changes import change_config
from auxo.cli.options import Start, parse_known_options
from auxo.cli.progress import make_observer
from auxo.cli.run_folder import require_run
from auxo.cli.terminal import print_table
from auxo.cli.words import say
from auxo.data import DataConfig
from auxo.errors import ConfigError, OutputError
from auxo.files import is_unused
from auxo.runs.adapted import require_trained
from auxo.runs.document import config_digest, from_json, load_recipe, to_json
from auxo.runs.doubts import find_doubts
from auxo.runs.experiment import ExperimentConfig, StageConfig, method_name
from auxo.runs.extension import extend_run, lengthen_config
from auxo.runs.history import RunHistory
from auxo.runs.networks import record_backbones
from auxo.runs.trackers import read_trackers
from auxo.runtime import Runtime, open_runtime, read_variable
from auxo.training import train_run

DESCRIPTION = """Train, and judge the model on data it never saw. Beside the options below: --out DIR names the run
directory (a new one under runs/ by default), --config FILE repeats a run, --resume RUN goes on with one (with
--moved OLD=NEW where something that it names is at another place now)."""


class _Plan(NamedTuple):
    """A run that is about to begin or to go on."""

    config: ExperimentConfig
    folder: Path
    is_new: bool
    is_resumed: bool = False
    finished: ExperimentConfig | None = None
    """Of a finished run that is to have more epochs, as it was."""
    notes: tuple[str, ...] = ()
    """Lines for the user."""


def run(words: Sequence[str]) -> None:
    """Train, print the table and name the run directory."""
    plan = _plan_run(list(words))
    if not plan.is_resumed:  # a run that is resumed has its own record
        plan = plan._replace(config=record_backbones(plan.config))
    with open_runtime(plan.config.runtime) as runtime:
        if plan.finished is not None:
            if runtime.is_main:
                extend_run(plan.folder, plan.finished, plan.config)
            runtime.barrier()
        if runtime.is_main:
            say_notes(plan.notes)
        observer = make_observer(is_main=runtime.is_main, headline=_write_headline(plan, runtime))
        try:
            result = train_run(
                plan.config,
                document=to_json(plan.config),
                digest=config_digest(plan.config),
                folder=plan.folder,
                runtime=runtime,
                observer=observer,
            )
        finally:
            observer.close()
        if runtime.is_main:
            print_table(result.table)
            for doubt in find_doubts(RunHistory.read(result.folder)):
                say(f"note: {doubt}")
            say(f"run directory: {result.folder}\nreport: {result.folder / 'report.md'}")
            if plan.config.training.tensorboard:
                say(f"curves: tensorboard --logdir {result.folder}")
            for name, tracked in read_trackers(result.folder).items():
                failed = tracked["failure"]
                say(f"tracker {name}: {tracked['identity']}" + (f"; it stopped: {failed}" if failed else ""))


def _write_headline(plan: _Plan, runtime: Runtime) -> str:
    """Return what is said when a run begins, goes on, or turns out to be finished."""
    if plan.is_new:
        return f"training in {plan.folder} on {runtime.device}"
    if plan.finished is not None or not RunHistory.read(plan.folder).is_finished:
        return f"going on in {plan.folder} on {runtime.device}"
    return f"{plan.folder} is finished already: nothing is trained, and its results are measured again"


def read_run_config(folder: Path, *, code: Sequence[str] = ()) -> ExperimentConfig:
    """Return the config of a run directory.

    Raises:
        ConfigError: there is none.
    """
    return _read_config(require_run(folder), code)


def _read_config(path: Path, code: Sequence[str]) -> ExperimentConfig:
    """Return the config in a file that is there."""
    return from_json(path.read_bytes(), origin=str(path), code=code)


def _plan_run(words: list[str]) -> _Plan:
    """Return what the words ask for."""
    recipe = words.pop(0) if not words[0].startswith("-") else None
    start, rest = parse_known_options(Start, words)
    sources = [source for source in (recipe, start.config, start.resume) if source is not None]
    if len(sources) != 1:
        got = " and ".join(sources) or "none"
        fix = "auxo train --help; RECIPE comes first"
        raise ConfigError("one of RECIPE, --config FILE and --resume RUN", got, fix)
    if start.resume is not None:
        folder = Path(start.resume)
        config = read_run_config(folder, code=start.code)
        return _plan_resumed(config, folder, rest if start.out is None else [*rest, "--out", start.out])
    if start.moved:
        fix = "name new places by --data.train and so on; only a run that is there has old ones"
        raise ConfigError("--resume RUN beside --moved", f"--moved {start.moved[0]}", fix)
    notes: tuple[str, ...] = ()
    if start.config is not None:
        path = Path(start.config)
        if path.is_dir():
            path /= "config.json"
        if not path.is_file():
            raise ConfigError("a config file", f"no file {path}", "name the config.json of a run directory")
        config = _read_config(path, start.code)
        config = with_options(config, rest, command=f"auxo train --config {path}", is_strict=True)
    else:
        config = with_options(load_recipe(str(recipe)), rest, command=f"auxo train {recipe}")
        notes = describe_numbers(str(recipe), config.data, rest)
    return _choose_folder(config, start.out, name=_name_run(recipe, config))._replace(notes=notes)


def _plan_resumed(config: ExperimentConfig, folder: Path, words: list[str]) -> _Plan:
    """Return how a run goes on: as it is, or with more epochs in its last stage."""
    require_trained(folder, "to go on with")
    if not words:
        return _Plan(config, folder, is_new=False, is_resumed=True)
    option = "--epochs" if len(config.stages) == 1 else f"--{config.stages[-1].name}.epochs"
    given, equals, value = words[0].partition("=")
    number = value if equals else "".join(words[1:2])
    if given != option or len(words) != 2 - bool(equals) or not number.isdecimal():
        expected = f"no other option than {option} N with --resume, which repeats the run's own"
        raise ConfigError(expected, " ".join(words), "leave it out")
    longer = lengthen_config(config, int(number), folder=folder)
    return _Plan(longer, folder, is_new=False, is_resumed=True, finished=config)


def _name_run(recipe: str | None, config: ExperimentConfig) -> str:
    """Return what a run is called: its recipe's method or file, else the method of its last stage."""
    if recipe is None:
        return method_name(config.stages[-1]).lower()
    return recipe_name(recipe)


def recipe_name(recipe: str) -> str:
    """Return the method or file of a recipe."""
    place, is_file = recipe.partition(":")[0], ".py" in recipe
    return Path(place).stem if is_file else place.rpartition(".")[2]


def _choose_folder(config: ExperimentConfig, out: str | None, *, name: str) -> _Plan:
    """Return the plan with its run directory: a new one, or after a restart by torchrun the one there is."""
    is_restart = read_variable("TORCHELASTIC_RESTART_COUNT", default=0) > 0
    if out is not None:
        folder = Path(out)
        if is_restart and (folder / "config.json").exists():
            return _Plan(config, folder, is_new=False)
        if not is_unused(folder):
            fix = f"choose another --out, or continue with auxo train --resume {folder}"
            got = f"{folder} with files in it" if folder.is_dir() else f"{folder}, a file"
            raise OutputError("a new or empty folder for --out", got, fix)
        return _Plan(config, folder, is_new=True)
    if read_variable("WORLD_SIZE", default=1) > 1:
        raise ConfigError("--out with several processes", "none", "name the run directory, so that all use the same")
    base = f"runs/{name}-{config.data.scenario if config.data.train is None else 'own'}-seed{config.seed}"
    folder, number = Path(base), 2
    while folder.exists():
        folder, number = Path(f"{base}-{number}"), number + 1
    return _Plan(config, folder, is_new=True)


def with_options(
    config: ExperimentConfig, words: list[str], *, command: str, is_strict: bool = False
) -> ExperimentConfig:
    """Return the config changed by options.

    The stages appear by name, as ``--warmup.epochs``; the options of a single stage stand alone, as ``--epochs``.

    Args:
        config: the run without them.
        words: the options.
        command: as the user typed it.
        is_strict: see :func:`auxo.cli.changes.change_config`.

    Raises:
        ConfigError: an option is unknown, or its value is not allowed.
    """
    made: Any = change_config(
        list_options(config), words, command=command, description=DESCRIPTION, is_strict=is_strict
    )
    values = {item.name: getattr(made, item.name) for item in fields(made)}
    stages = tuple(values.pop(stage.name.replace("-", "_")) for stage in config.stages)
    return ExperimentConfig(stages=stages, **values)


def describe_numbers(recipe: str, data: DataConfig, words: Sequence[str]) -> tuple[str, ...]:
    """Return notes on numbers of images that a recipe has for its own scenario and that hold for a user's images, too.

    Args:
        recipe: its name.
        data: of the run.
        words: options that the user gave.
    """
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    if given.isdisjoint({"--data.train", "--train"}):
        return ()
    uses = {"num_train": "trains on {} of your images", "num_labelled": "uses the labels of {} of your images"}
    if data.unlabelled is not None:
        del uses["num_labelled"]  # which is ignored then
    kept = {name: getattr(data, name) for name in uses}
    flags = {name: f"--data.{name.replace('_', '-')}" for name in uses}
    return tuple(
        f"the recipe {recipe} {uses[name].format(value)}: {flags[name]} N says another number, None all"
        for name, value in kept.items()
        if value is not None and flags[name] not in given
    )


def say_notes(notes: Sequence[str]) -> None:
    """Print notes, one a line."""
    for note in notes:
        say(f"note: {note}", flush=True)


def list_options(config: ExperimentConfig) -> object:
    """Return a dataclass with the options of a run, in which each stage is called by its name."""
    names = [stage.name.replace("-", "_") for stage in config.stages]
    shape: Any = Annotated[StageConfig, tyro.conf.arg(name="")] if len(names) == 1 else StageConfig
    members: list[tuple[str, Any, Any]] = []
    for name, stage in zip(names, config.stages, strict=True):
        members.append((name, shape, field(default=stage)))
    others = [item for item in fields(ExperimentConfig) if item.name != "stages"]
    for item in others:
        members.append((item.name, item.type, field(default=getattr(config, item.name))))
    return make_dataclass("Options", members, frozen=True)()
