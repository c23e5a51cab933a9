"""What a run is: one frozen value that says everything, from the data to the seed."""

import keyword
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Literal

import tyro

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.errors import ConfigError, OptionError
from auxo.interfaces import MethodConfig, PretextConfig, PretextMethodConfig
from auxo.optimizers import TuningConfig
from auxo.options import LATER, MOST_SEED, Options, Range, read_default
from auxo.runs.selection import SelectionRule
from auxo.runs.tree import Option, Steps, walk
from auxo.runtime import RuntimeConfig
from auxo.tasks import TaskConfig

_SCRATCH = "scratch"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A part of an earlier stage's weights that becomes a part of a later one's."""

    stage: str
    """Name of the earlier stage."""
    part: str
    """Which of its modules, such as "backbone"; its weights' names begin so."""
    to: str
    """The module that starts from them."""


@dataclass(frozen=True, kw_only=True)
class StageConfig(Options):
    """One stage of a run: a method, its budget and the weights it starts from."""

    method: MethodConfig
    """How to train."""
    name: Annotated[str, tyro.conf.Suppress] = "train"
    """Name of the stage in records, checkpoints and options; a letter, then letters, digits, "-" and "_"."""
    epochs: Annotated[int, Range(low=1)] = 15
    """Passes over the training images, or over what else a method trains on instead."""
    batch_size: Annotated[int, Range(low=1, high=65536)] = 64
    """Images per step, over all processes."""
    drop_last: bool = False
    """Leave out an epoch's last batch if it is smaller than the others."""
    start_from: Annotated[str, tyro.conf.Suppress] = _SCRATCH
    """"scratch", or the name of an earlier stage whose weights of the same name and shape this stage starts from."""
    transfers: Annotated[tuple[Transfer, ...], tyro.conf.Suppress] = ()
    """Instead of start_from: which parts of which earlier stages become which parts of this one."""
    selection: SelectionRule = field(default_factory=SelectionRule)
    """Which weights the stage ends with."""
    tuning: TuningConfig = field(default_factory=TuningConfig, metadata=LATER)
    """How weights move, whatever the method: what people ask for when they fine-tune."""

    def __post_init__(self) -> None:
        super().__post_init__()
        word = self.name.replace("-", "_")
        if not (word.isidentifier() and word[0].isalpha()) or keyword.iskeyword(word):
            got, fix = repr(self.name), "begin it with a letter, and take no word of Python's"
            raise ConfigError("a stage name of letters, digits, - and _ that can begin an option", got, fix)
        if self.selection.keep == "last" and self.selection != SelectionRule():
            expected, fix = "selection.keep best with another measure, head or tie-break", "pass --selection.keep best"
            raise ConfigError(expected, f"keep last in stage {self.name}", f"{fix}, or leave the others out")
        if self.transfers and self.start_from != _SCRATCH:
            raise ConfigError("start_from or transfers", f"both in stage {self.name}", "list all parts in transfers")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the earlier stages that this one takes weights from."""
        named = [transfer.stage for transfer in self.transfers]
        return tuple(dict.fromkeys(named if self.start_from == _SCRATCH else [self.start_from]))


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Options):
    """How often a run logs, evaluates and saves."""

    cache: Annotated[str | None, tyro.conf.arg(aliases=["--cache"])] = None
    """Folder of what several runs can share, such as features; a run that is finished does not need it."""
    log_every: Annotated[int, Range(low=1)] = 20
    """Steps between rows of losses in records.jsonl and TensorBoard."""
    evaluate_every: Annotated[int, Range(low=1)] = 1
    """Epochs between evaluations on the validation set; the last epoch is always evaluated."""
    checkpoint_every: Annotated[int, Range(low=0)] = 0
    """Steps between checkpoints; 0 saves once an epoch."""
    keep_checkpoints: Annotated[int, Range(low=1)] = 2
    """How many of the newest checkpoints stay on disk; one is about three times the model under Adam, twice under SGD
    with momentum."""
    keep_every: Annotated[int, Range(low=0)] = 0
    """Epochs of a stage between checkpoints that stay beside the newest, so that auxo verify RUN can replay what is
    between them; 0 keeps none."""
    eval_batch_size: Annotated[int, Range(low=1, high=65536)] = 500
    """Images per forward pass of an evaluation; pretexts make several inputs of each."""
    tensorboard: bool = True
    """Write TensorBoard event files into the run directory."""
    trackers: tuple[Literal["wandb", "mlflow"], ...] = field(default=(), metadata=LATER)
    """Show the curves in other trackers as well, each an extra to install (auxo list trackers). One that fails while a
    run trains gets no further points; the run goes on."""
    trackers_project: str = field(default="auxo", metadata=LATER)
    """Project of wandb, or experiment of mlflow, that the run is shown under."""
    trackers_offline: bool = field(default=False, metadata=LATER)
    """Keep what trackers get in the run directory and send nothing."""


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(Options):
    """A whole run."""

    stages: tuple[StageConfig, ...]
    """What happens, in order."""
    task: TaskConfig = field(default_factory=TaskConfig)
    """What is predicted."""
    pretext: PretextConfig | None = None
    """The pretext of all stages that train one and say no other, such as --pretrain.method.pretext.name."""
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    """The network that all stages share."""
    data: DataConfig = field(default_factory=DataConfig)
    """What is learned from and judged on."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How often to log, evaluate and save."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    """Device, precision, threads."""
    seed: Annotated[
        int, Range(low=0, high=MOST_SEED), tyro.conf.arg(help="Every random number of the run follows from it.")
    ] = 0
    """Every random number of the run follows from it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.stages:
            raise ConfigError("at least one stage", "none", "let the recipe return stages=(StageConfig(...),)")
        names = [stage.name for stage in self.stages]
        self._check_names(names)
        self._check_pretexts()
        views = [view for stage in self.trained_stages for view in stage.method.required_views().values()]
        if self.data.unlabelled is not None and not any(view.split in ("unlabelled", "images") for view in views):
            got = ", ".join(map(method_name, self.stages))
            fix = "use fixmatch, joint_training with --method.unlabelled-weight 1, or no data.unlabelled"
            raise ConfigError("a method that trains on unlabelled images", got, fix)
        self._check_inherited()
        for index, stage in enumerate(self.stages):
            unknown = [name for name in stage.sources if name not in names[:index]]
            if unknown:
                earlier = ", ".join((_SCRATCH, *names[:index]))
                raise ConfigError(f"start-from one of: {earlier}", repr(unknown[0]), "name an earlier stage")
        self._check_shared_parts()
        self._check_tuning()

    @property
    def trained_stages(self) -> tuple[StageConfig, ...]:
        """The stages as they are trained: with the run's pretext where they say none."""
        return tuple(
            replace(stage, method=stage.method.with_pretext(self.pretext))
            if isinstance(stage.method, PretextMethodConfig)
            else stage
            for stage in self.stages
        )

    def _check_pretexts(self) -> None:
        """Refuse a pretext that no stage trains, and heads that are handed on from one pretext to another."""
        trained: dict[str, PretextConfig] = {}
        for stage in self.trained_stages:
            if isinstance(stage.method, PretextMethodConfig) and stage.method.needs_pretext:
                try:
                    trained[stage.name] = stage.method.chosen_pretext
                except OptionError as error:
                    raise error.under(*([stage.name] if len(self.stages) > 1 else []), "method") from error
        if self.pretext is not None and not trained:
            got = f"{self.pretext.label} with {', '.join(map(method_name, self.stages))}"
            raise ConfigError(
                "a method that trains the pretext",
                got,
                "use pretrain, bissl, joint_training, or linear_probe with warm-up-pretext",
            )
        for stage in self.stages:
            for transfer in stage.transfers:
                one, other = trained.get(transfer.stage), trained.get(stage.name)
                if transfer.to == "pretext" and one is not None and other is not None and one != other:
                    expected = f"one pretext in the stages {transfer.stage} and {stage.name}, which share its heads"
                    fix = "name it once, with --pretext.name"
                    raise ConfigError(expected, f"{one.label} and {other.label}", fix)

    def _check_tuning(self) -> None:
        """Refuse what a stage's method cannot be changed by, and to wait for weights that are not selected."""
        for stage in self.trained_stages:
            prefix = ([stage.name] if len(self.stages) > 1 else []) + ["tuning"]
            changed = [item for item in fields(stage.tuning) if getattr(stage.tuning, item.name) != read_default(item)]
            if stage.tuning.mixes and not stage.method.takes_mixed_labels:
                name = "mixup" if stage.tuning.mixup else "cutmix"
                rule = f"0 with {method_name(stage)}, because its loss takes one label for each image"
                raise OptionError(name, rule, str(getattr(stage.tuning, name)), "leave it out").under(*prefix)
            for item in changed:
                value, default = getattr(stage.tuning, item.name), read_default(item)
                reason = stage.method.refused_tuning.get(item.name)
                if reason is not None:
                    rule = f"{default} with {method_name(stage)}, because {reason}"
                    raise OptionError(item.name, rule, str(value), "leave it out").under(*prefix)
            if stage.tuning.patience and not stage.selection.keeps_best:
                rule = "0 where the last weights are kept, which are not the best that it waits for"
                fix = "pass --selection.keep best"
                raise OptionError("patience", rule, str(stage.tuning.patience), fix).under(*prefix)

    def _check_shared_parts(self) -> None:
        """Refuse stages that hand on a part, such as a decoder, and make it from other options."""
        by_name = {stage.name: stage for stage in self.stages}
        for stage in self.stages:
            source = by_name.get(stage.start_from)
            if source is None:
                continue
            names, own = (source.name, stage.name), stage.method.shared_parts
            for part, other in source.method.shared_parts.items():
                if part in own and own[part] != other:
                    expected = f"one {part} in the stages {' and '.join(names)}, of which the second takes it over"
                    options = " and ".join(f"--{name}.method.{part}" for name in names)
                    raise ConfigError(expected, "two that differ", f"give both the same options, {options}")

    def _check_inherited(self) -> None:
        """Refuse a stage without weights of an earlier one that its method cannot do without."""
        for stage in self.stages:
            lost = set(stage.method.inherited_parts) - {transfer.to for transfer in stage.transfers}
            if lost:
                got, fix = f"none in stage {stage.name}", "take a recipe that trains it first and transfers it"
                raise ConfigError(f"the {min(lost)} of an earlier stage for {method_name(stage)}", got, fix)

    def _check_names(self, names: list[str]) -> None:
        """Refuse names of stages that could not all begin options of their own, such as ``--warm-up.epochs``."""
        words = [name.replace("-", "_") for name in names]
        if len(set(words)) < len(words):
            raise ConfigError("stages with different names", ", ".join(names), "rename one of them")
        taken = {_SCRATCH, *(item.name for item in fields(self))}
        for name, word in zip(names, words, strict=True):
            if word in taken:
                raise ConfigError("a stage name that means nothing else yet", repr(name), "rename the stage")


def method_name(stage: StageConfig) -> str:
    """Return a method's name: its module's in auxo, its class's outside."""
    kind = type(stage.method)
    is_builtin = kind.__module__.startswith("auxo.methods.")
    return kind.__module__.rpartition(".")[2] if is_builtin else kind.__qualname__.partition(".")[0]


def named_options(config: ExperimentConfig) -> dict[str, Option]:
    """Return every option of a run by the name it has at the command line, such as ``method.optimizer.lr``.

    The options of one stage among several begin with its name. What links stages, and what a run notes of its backbone,
    has no option and is left out.
    """
    found: dict[str, Option] = {}
    for option in walk(config):
        is_noted = tyro.conf.Suppress in getattr(option.field.type, "__metadata__", ())
        is_link = option.steps[0] == "stages" and option.steps[2] in ("name", "start_from", "transfers")
        if not (is_noted or is_link):
            found[spell_option(config, option.steps)] = option
    return found


def spell_option(config: ExperimentConfig, steps: Steps) -> str:
    """Return the name that an option of a run has at the command line, by the steps to it."""
    if steps[0] == "stages" and len(steps) > 1:
        stage = config.stages[int(steps[1])]
        steps = (*((stage.name,) if len(config.stages) > 1 else ()), *steps[2:])
    return ".".join(steps).replace("_", "-")
