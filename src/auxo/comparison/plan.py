"""The runs of a comparison, each of as many epochs as its budget allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

from auxo import registry
from auxo.comparison.budget import fit_to_budget, total_flops
from auxo.comparison.declaration import ELSEWHERE, PREFIX, Declaration, Question, declare
from auxo.comparison.folder import Contents, MethodEntry, differences, run_folder, shared_settings
from auxo.comparison.measures import choose_measure
from auxo.comparison.results import add_class_measures
from auxo.data import DataConfig, Splits
from auxo.errors import ConfigError, ForeignCodeError
from auxo.jobs import Job
from auxo.registry.outside import run_foreign
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import splits_of
from auxo.runs.results import PRIMARY, EvaluationRow, first_head
from auxo.runtime import Runtime
from auxo.training.cost import StageCost, measure_costs
from auxo.training.run import untrained_stages

_DEFAULT = Question()


@dataclass(frozen=True)
class Choice:
    """A method that is to be compared.

    Args:
        name: in the table and of the run directories.
        recipe: as the user named it.
        config: the run at its recipe's length; the seed is ignored.
        controls: the method that it is a control of, as its recipe says; ``None`` where it is none.
    """

    name: str
    recipe: str
    config: ExperimentConfig
    controls: str | None = None


@dataclass(frozen=True)
class Grid:
    """What is to be run.

    Args:
        contents: of the folder once all is done.
        jobs: seed after seed, and within it method after method, so that what is there early can be compared.
        notes: what the user should know before they are made.
    """

    contents: Contents
    jobs: tuple[Job, ...]
    notes: tuple[str, ...]


def require_one_setting(choices: Sequence[Choice], earlier: Contents | None, *, out: Path) -> None:
    """Refuse methods that would not see the same data, network and machine.

    Raises:
        ConfigError: two methods, or a method and the folder's earlier runs, differ in an option.
    """
    first = choices[0]
    before, origin = (shared_settings(first.config), first.name) if earlier is None else (earlier.shared, str(out))
    for choice in choices:
        for option, one, other in differences(before, shared_settings(choice.config)):
            got = f"{option} {one} in {origin}, {other} in {choice.name}"
            fix = f"give --{option} for all" + ("" if earlier is None else ", or choose another --out")
            raise ConfigError("one setting for all methods", got, fix)


def plan_grid(
    choices: Sequence[Choice],
    seeds: Sequence[int],
    *,
    earlier: Contents | None,
    title: str,
    budget: str,
    flops: float | None,
    folder: Path,
    runtime: Runtime,
    epochs: int | None = None,
    measures: Sequence[str] = (PRIMARY,),
    question: Question = _DEFAULT,
) -> Grid:
    """Return the runs of all methods and seeds, each as long as the budget says, and what they are to decide.

    Methods whose measurement raises what is no error of auxo's keep their recipe's length; their runs will say why.

    Args:
        choices: the methods, of one setting.
        seeds: of the runs.
        earlier: what the folder holds; its budget is kept.
        title: of the comparison.
        budget: "equal" for equal operations, "recipe" for the recipes' own lengths.
        flops: operations of every run under an equal budget; ``None`` for those of the costliest recipe.
        folder: of the comparison.
        runtime: the device to measure on.
        epochs: that stood for those of the recipes, see :func:`auxo.comparison.with_epochs`.
        measures: that are to be shown; the first is that of the primary endpoint.
        question: what the comparison is asked, beside what its folder declares.

    Raises:
        ConfigError: the folder has another budget, operations cannot be counted, there is no test set, no test set
            has a measure, or what is asked does not go with the methods, the sets, or what was declared.
        AuxoError: a method cannot take the data.
    """
    _check_budget(earlier, budget, flops, folder)
    _check_epochs(earlier, epochs, folder)
    splits = _load_splits(choices[0], seeds[0])
    _require_measures(choices, measures, seeds[0], splits=splits, runtime=runtime)
    costs, notes = _measure_costs(choices, seeds[0], is_needed=budget == "equal", splits=splits, runtime=runtime)
    chosen = "as long as the recipes say"
    if budget == "equal":
        flops, chosen = _choose_budget(choices, costs, earlier, flops, epochs, notes)
    lengths = {choice.name: _fit_length(choice, costs.get(choice.name), flops) for choice in choices}
    counts = {name: measured[-1].num_parameters for name, measured in costs.items()}
    entries = {c.name: MethodEntry(c.recipe, counts.get(c.name), tuple(seeds), c.controls) for c in choices}
    if earlier is None:
        earlier = Contents(title, budget, flops, chosen, shared_settings(choices[0].config), epochs)
    jobs = tuple(
        Job(f"{name}-seed{seed}", replace(config, seed=seed), run_folder(folder, name, seed))
        for seed in seeds
        for name, config in lengths.items()
    )
    contents = earlier.added(entries)
    declaration = _declare_contrasts(contents, question, measures[0], splits)
    redrawn = _find_redrawn(choices[0].config.data, splits)
    return Grid(replace(contents, declaration=declaration, redrawn=redrawn), jobs, tuple(notes))


def _find_redrawn(data: DataConfig, splits: Splits) -> dict[str, float]:
    """Return the test sets whose images every seed draws anew, with the overlap of training sets under two seeds.

    They overlap where training and test images are drawn from one pool and leave none of it but the validation images.
    """
    if splits.test is None:
        return {}
    scenario = None if data.train is not None else registry.load("data.scenarios", data.scenario)
    own = (splits.test.name,) if data.test is None else ()
    names = own if scenario is None else getattr(scenario, "REDRAWN", ())
    has_pool = getattr(scenario, "HAS_POOL", True)
    sets = [split.name for split in splits.evaluation() if split is not splits.val]
    is_exhausted = data.num_train is None and data.num_labelled is None and data.imbalance == "none"
    ratio = len(splits.test.source) / len(splits.train.source) if has_pool and is_exhausted else 0.0
    return {name: ratio for name in sets if name in names or names == "all"}


def _declare_contrasts(contents: Contents, question: Question, measure: str, splits: Splits) -> Declaration:
    """Return what the comparison is to decide.

    Raises:
        ConfigError: what is asked does not go with its methods, its sets, or what was declared.
    """
    own = {name: entry.controls for name, entry in contents.methods.items() if entry.controls is not None}
    asked = replace(question, controls={**own, **(question.controls or {})})
    made = declare(asked, list(contents.methods), measure=measure, earlier=contents.declaration, looks=contents.looks)
    judges = [split for split in splits.evaluation() if split is not splits.val]
    columns = dict.fromkeys(name for split in judges for name in split.source.columns)
    if question.group is not None and question.group not in columns:
        got = f"{question.group!r}; the sets have {', '.join(columns)}"
        raise ConfigError("a further column of the test images", got, f"read it with --data.columns {question.group}")
    sets = [split.name for split in judges]
    elsewhere = [ELSEWHERE] * (sum(name.startswith(PREFIX) for name in sets) > 1)
    if made.split is not None and made.split not in (*sets, *elsewhere):
        names = ", ".join((*sets, *("elsewhere" for _ in elsewhere)))
        raise ConfigError(f"an endpoint among {names}", repr(question.endpoint), "name one of them with --endpoint")
    return made


def _fit_length(choice: Choice, costs: tuple[StageCost, ...] | None, budget: float | None) -> ExperimentConfig:
    """Return the run of a method, as long as a budget says if there is one and the method was measured."""
    if costs is None or budget is None:
        return _never_stopped(choice.config)
    return _never_stopped(fit_to_budget(choice.config, costs, budget).config)


def _never_stopped(config: ExperimentConfig) -> ExperimentConfig:
    """Return a run of which no stage ends early: its compute would be less than the others'."""
    stages = (replace(stage, tuning=replace(stage.tuning, patience=0)) for stage in config.stages)
    return replace(config, stages=tuple(stages))


def _load_splits(choice: Choice, seed: int) -> Splits:
    """Return the data of a seed, with something to judge on."""
    splits = splits_of(replace(choice.config, seed=seed))
    if splits.test is None and not splits.ood:
        fix = "give --data.test or --data.ood, or a --data.test-fraction above 0"
        raise ConfigError("a set to judge on that is not the validation set", "none", fix)
    return splits


def _require_measures(
    choices: Sequence[Choice], measures: Sequence[str], seed: int, *, splits: Splits, runtime: Runtime
) -> None:
    """Refuse measures that no test set has, by what the first method that can be built has without training."""
    if set(measures) <= {PRIMARY}:
        return
    for choice in choices:
        untrained = partial(_evaluate_untrained, replace(choice.config, seed=seed), splits=splits, runtime=runtime)
        try:
            rows = run_foreign(untrained, choice.name)
        except ForeignCodeError:  # its own run says where
            continue
        for name in measures if rows else ():
            choose_measure(rows, name)
        return


def _evaluate_untrained(config: ExperimentConfig, *, splits: Splits, runtime: Runtime) -> list[EvaluationRow]:
    """Return what the head that predicts has on every test set before training; nothing where there is no head."""
    *_, last = untrained_stages(config, splits=splits, runtime=runtime)
    judges = [split for split in splits.evaluation() if split is not splits.val]
    return [add_class_measures(row) for split in judges for row in first_head(last.reader.evaluate(split))]


def _check_budget(earlier: Contents | None, budget: str, flops: float | None, folder: Path) -> None:
    """Refuse a budget that is none, or another than that of the runs that are there."""
    if budget == "recipe" and flops is not None:
        raise ConfigError("--flops or --budget recipe", "both", "leave one out")
    if flops is not None and not 0 < flops < inf:
        raise ConfigError("flops > 0", str(flops), "give for instance 1e12")
    if earlier is None or (earlier.budget == budget and flops in (None, earlier.flops)):
        return
    kept = "--budget recipe" if earlier.flops is None else f"{earlier.flops:g} operations a run"
    got = "--budget recipe" if budget == "recipe" else "equal" if flops is None else f"--flops {flops:g}"
    raise ConfigError(f"the budget of the runs in {folder}, {kept}", got, "choose another --out")


def _check_epochs(earlier: Contents | None, epochs: int | None, folder: Path) -> None:
    """Refuse another length than that of the runs that are there."""
    if earlier is not None and earlier.epochs != epochs:
        given, got = ("no --epochs" if each is None else f"--epochs {each}" for each in (earlier.epochs, epochs))
        raise ConfigError(f"{given}, as for the runs in {folder}", got, "choose another --out")


def _measure_costs(
    choices: Sequence[Choice], seed: int, *, is_needed: bool, splits: Splits, runtime: Runtime
) -> tuple[dict[str, tuple[StageCost, ...]], list[str]]:
    """Return what the stages of each method cost, and notes on those that raise.

    Args:
        choices: the methods.
        seed: of the splits.
        is_needed: whether a network whose operations cannot be counted is to be refused.
        splits: the data.
        runtime: the device.
    """
    costs: dict[str, tuple[StageCost, ...]] = {}
    notes: list[str] = []
    for choice in choices:
        config = replace(choice.config, seed=seed)
        if config.runtime.compile:
            if is_needed:
                fix = "pass --budget recipe, or --runtime.no-compile"
                raise ConfigError("operations that can be counted, for equal compute", "a compiled network", fix)
            continue
        try:
            costs[choice.name] = run_foreign(
                partial(measure_costs, config, splits=splits, runtime=runtime), choice.name
            )
        except ForeignCodeError as error:  # its own run says where
            unlike = "; the budget is that of the others" if is_needed else ""
            notes.append(f"{choice.name} could not be measured and keeps its recipe's length ({error.got}){unlike}")
    return costs, notes


def _choose_budget(
    choices: Sequence[Choice],
    costs: Mapping[str, tuple[StageCost, ...]],
    earlier: Contents | None,
    flops: float | None,
    epochs: int | None,
    notes: Sequence[str],
) -> tuple[float, str]:
    """Return the operations of every run, and what they were chosen by."""
    if earlier is not None and earlier.flops is not None:
        return earlier.flops, earlier.chosen
    if flops is not None:
        return flops, "as given"
    amounts = {
        choice.name: total_flops(choice.config, costs[choice.name]) for choice in choices if choice.name in costs
    }
    if not amounts:
        raise ConfigError("a method whose operations can be measured", notes[0], "repair it, or pass --budget recipe")
    costliest = max(amounts, key=lambda name: amounts[name])
    length = "at its recipe's length" if epochs is None else f"in {epochs} epoch{'' if epochs == 1 else 's'}"
    unmeasured = ", ".join(choice.name for choice in choices if choice.name not in costs)
    without = f", chosen without {unmeasured}, which could not be measured" if unmeasured else ""
    return amounts[costliest], f"those of {costliest} {length}{without}"
