"""``auxo label-quality``: how good automatic labels of pixels are for contrast, before anything is trained by them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import tyro

from auxo.cli.changes import name_members, read_with_members
from auxo.cli.terminal import print_table
from auxo.cli.train import read_run_config, with_options
from auxo.cli.words import say
from auxo.data import Splits
from auxo.data.sources import comparable_hashes
from auxo.errors import CheckpointError, ConfigError
from auxo.evaluation import to_csv
from auxo.evaluation.label_quality import (
    DrawingRule,
    JudgedImages,
    LabelQuality,
    build_quality_table,
    choose_judged,
    find_same_images,
    judge_labeller,
    judge_labels,
)
from auxo.files import make_folder, require_place, write_atomically
from auxo.options import Options as CheckedOptions
from auxo.options import Range, find_member
from auxo.pretexts.labellers import LabellerConfig, LabelTools, LendsLabelTools
from auxo.pretexts.labellers.encoder import Encoder
from auxo.pretexts.pixels.contrast import Contrast
from auxo.registry.outside import absolute_name, is_outside, short_name, split_outside
from auxo.runs.checkpoint import Checkpoints, Progress
from auxo.runs.document import config_digest, load_recipe
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.model import splits_of
from auxo.runtime import Runtime, open_runtime
from auxo.tasks import Segmentation
from auxo.training.run import untrained_stages
from auxo.training.trainer import StageTrainer
from auxo.types import MASK

DESCRIPTION = """Say how good the labels are that labellers give the pixels of images whose masks they have not read.
RECIPE is that of auxo train, with all of its options; for RUN, the directory of a run, the labels are judged that it
has stored."""

BOUNDS = ("oracle", "random", "image_id")
_STORED = "pixel_labels"
_LEARNING = ("labellers", "clusters")


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo label-quality``."""

    labellers: tuple[str, ...] = ()
    """Which, as "a,b": names of auxo list labellers, or file.py:Name; "all" are all of auxo's own. Default: that of the
    recipe, and the bounds oracle, random and image_id. Options of each are --labeller.NAME.OPTION."""
    clusters: tuple[Annotated[int, Range(low=1)], ...] = ()
    """Numbers of labels, as "6,12", each of which is tried with every labeller that has clusters; default its own."""
    images: JudgedImages = "held_out"
    """Which images with masks judge: a part of the training images, whose masks no labeller reads then (held_out), or
    the validation images (val), which then choose. Test images never do."""
    held_out: Annotated[float, Range(above=0, below=1)] = 0.5
    """Share of the training images with masks that judges."""
    moved: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """OLD=NEW: a file or folder that the run names is at another place now; repeat it for several."""
    out: str | None = None
    """Folder for quality.json and quality.csv; default label-quality in the directory of a run, else none."""


class _Request(NamedTuple):
    """What the words ask for.

    Args:
        options: of this command.
        config: of the run that is judged, or would be.
        number: of its stage.
        labellers: to be judged, by what they are called.
        folder: of a run whose stored labels are judged; ``None`` for a recipe.
    """

    options: Options
    config: ExperimentConfig
    number: int
    labellers: Mapping[str, LabellerConfig]
    folder: Path | None = None


class _Judged(NamedTuple):
    """What was found, by labeller, with sentences on how."""

    qualities: dict[str, LabelQuality]
    notes: list[str]


def run(words: Sequence[str]) -> None:
    """Judge the labellers, or the labels of a run, print the table and write it where that is asked for."""
    asked = _read_words(list(words))
    if asked.options.out is not None:
        require_place(Path(asked.options.out))
    with open_runtime(asked.config.runtime) as runtime:
        with runtime.main_first():
            splits = splits_of(asked.config)
        Segmentation.require(splits.task())
        if asked.folder is None:
            judged = _judge_labellers(asked, splits, runtime)
        else:
            judged = _judge_run(asked, asked.folder, splits, runtime)
        if runtime.is_main:
            print_table(build_quality_table(judged.qualities, notes=judged.notes))
            _write_files(asked, judged)


def _judge_labellers(asked: _Request, splits: Splits, runtime: Runtime) -> _Judged:
    """Let every labeller learn as in the stage, and judge what it says of other images."""
    config, options = asked.config, asked.options
    sets = choose_judged(splits, images=options.images, share=options.held_out, seed=config.seed)
    stage = config.stages[asked.number]
    notes = [sets.note]
    if stage.sources and any(_reads_stage(member) for member in asked.labellers.values()):
        earlier, fix = ", ".join(stage.sources), "name a finished run with --labeller.encoder.source"
        notes.append(f"The encoder has its first weights, not those that {earlier} ends with: {fix}.")

    rule = _read_rule(asked, splits, runtime)
    found: dict[str, LabelQuality] = {}
    for name, labeller in asked.labellers.items():
        trainer, tools = _begin_stage(asked, splits, runtime)  # of its own for each, as in a run of its own
        found[name] = judge_labeller(
            labeller, reader=trainer.reader, splits=splits, sets=sets, tools=tools, rule=rule, seed=trainer.seed
        )
    return _Judged(found, notes)


def _judge_run(asked: _Request, folder: Path, splits: Splits, runtime: Runtime) -> _Judged:
    """Judge the labels that a run has stored of its own training images, as far as they have masks."""
    config, stage = asked.config, asked.config.stages[asked.number]
    checkpoints = Checkpoints(folder / "checkpoints", stage.name, config_digest(config), 1, splits.digests())
    if not checkpoints.prepared.exists():
        fix = f"go on with auxo train --resume {folder}"
        raise CheckpointError(f"labels that stage {stage.name} has stored", f"no {checkpoints.prepared}", fix)
    stored = checkpoints.read_prepared(Progress()).targets
    split = next((name for name, targets in stored.items() if _STORED in targets), None)
    if split is None:
        raise CheckpointError(f"labels of pixels in {checkpoints.prepared}", "none", "name a run that makes some")
    source = splits.train.source
    labels = stored[split][_STORED]
    if split == "unlabelled" and splits.unlabelled is not None:
        labels = labels[find_same_images(*comparable_hashes([source, splits.unlabelled.source]))]
    classes = source.fetch_targets(torch.arange(len(source)))[MASK]
    count = splits.task().num_outputs
    rule = _read_rule(asked, splits, runtime)
    found = judge_labels(labels, classes, num_classes=count, rule=rule, seed=config.seed)
    labeller = _find_labeller(stage)
    name = "stored" if labeller is None else labeller.name  # a method of the user's own may have labels without one
    notes = [f"Labels that {folder} has stored, judged on its {len(source)} training images with masks."]
    if labeller is not None and labeller.learns_masks:
        notes.append(
            "The labeller has learned from these masks, which flatter it: judge it by auxo label-quality RECIPE."
        )
    return _Judged({name: found}, notes)


def _reads_stage(labeller: LabellerConfig) -> bool:
    """Return whether labels follow from the backbone as the stage begins."""
    return isinstance(labeller, Encoder.Config) and not labeller.source


def _begin_stage(asked: _Request, splits: Splits, runtime: Runtime) -> tuple[StageTrainer, LabelTools]:
    """Return the stage as it begins, and the tools of its method."""
    trainer = [*untrained_stages(asked.config, splits=splits, runtime=runtime)][asked.number]
    method, stage = trainer.method, asked.config.stages[asked.number]
    if not isinstance(method, LendsLabelTools):
        fix = "name a recipe with one, such as segmentation"
        raise ConfigError("a method that makes labels of pixels", f"{type(method).__name__} in {stage.name}", fix)
    return trainer, method.label_tools()


def _read_rule(asked: _Request, splits: Splits, runtime: Runtime) -> DrawingRule:
    """Return how the stage draws pixels at the size of its features, or would if it compared them."""
    _, tools = _begin_stage(asked, splits, runtime)
    size = tools.new_segmenter().measure_features(splits.task().image_shape)
    stage = asked.config.stages[asked.number]
    objective, batch = getattr(stage.method, "objective", None), stage.batch_size
    if isinstance(objective, Contrast.Config):
        return DrawingRule(objective.sampling, objective.positives, objective.negatives, size, batch)
    return DrawingRule(size=size, batch_size=batch)


def _find_labeller(stage: StageConfig) -> LabellerConfig | None:
    """Return the labeller of a stage, if it has one."""
    found = getattr(stage.method, "labeller", None)
    return found if isinstance(found, LabellerConfig) else None


def _find_stage(config: ExperimentConfig, *, origin: str) -> int:
    """Return the number of the first stage that makes labels of pixels, or else of the first that could."""
    able = [number for number, stage in enumerate(config.stages) if hasattr(stage.method, "labeller")]
    if not able:
        raise ConfigError("a stage that makes labels of pixels", f"none in {origin}", "name one, such as segmentation")
    return next((number for number in able if _find_labeller(config.stages[number]) is not None), able[0])


def _read_words(words: list[str]) -> _Request:
    """Return what the words ask for; no image is read."""
    place = words.pop(0) if words and not words[0].startswith("-") else None
    command = "auxo label-quality" if place is None else f"auxo label-quality {place}"
    own, shared = _split_words(words)
    if place is None:
        _read_members(own, None, command=f"{command} RECIPE")  # help, or a misspelt option
        raise ConfigError("a recipe or the directory of a run as the first word", "none", f"{command} segmentation")
    is_run = Path(place).is_dir()
    config = read_run_config(Path(place), code=_take_code(shared)) if is_run else load_recipe(place)
    if shared and not is_run:
        config = with_options(config, shared, command=command)
    number = _find_stage(config, origin=place)
    options, labellers = _read_members(own, _find_labeller(config.stages[number]), command=command)
    given = [f"--{name.replace('_', '-')}" for name in _LEARNING if getattr(options, name)] + shared
    if is_run and given:
        fix = f"leave it out, or name the recipe: auxo label-quality RECIPE {' '.join(given)}"
        raise ConfigError("no labellers beside RUN, whose stored labels are judged", given[0], fix)
    return _Request(options, config, number, labellers, Path(place) if is_run else None)


def _split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words for this command, and those for the recipe."""
    flags = {f"--{item.name.replace('_', '-')}" for item in fields(Options)} | {"-h", "--help"}
    own: list[str] = []
    shared: list[str] = []
    current, is_list = shared, False
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if word.startswith("-") and not re.match(r"-[\d.]", word):
            current = own if flag in flags or flag.startswith("--labeller.") else shared
            is_list = flag == "--clusters"
        current += re.split("[=,]", word) if is_list else [word]
    return own, shared


def _take_code(words: list[str]) -> list[str]:
    """Take the files after ``--code`` out of words."""
    taken: list[str] = []
    while "--code" in words:
        place = words.index("--code")
        taken += words[place + 1 : place + 2]
        del words[place : place + 2]
    return taken


def _read_members(
    words: Sequence[str], own: LabellerConfig | None, *, command: str
) -> tuple[Options, dict[str, LabellerConfig]]:
    """Return the options of this command and of the labellers that it names, by what each is called."""
    names = _find_names(words, own)
    members = {name: _choose_labeller(own, name) for name in names}
    keys = {_make_key(name): member for name, member in members.items()}
    options, made = read_with_members(
        Options, words, option="labeller", members=keys, command=command, description=DESCRIPTION
    )
    found: dict[str, LabellerConfig] = {}
    for name, member in zip(members, made, strict=True):
        short = short_name(name)
        if options.clusters and hasattr(member, "clusters"):
            changes: list[dict[str, Any]] = [{"clusters": count} for count in options.clusters]
            found |= {f"{short} {change['clusters']}": replace(member, **change) for change in changes}
        else:
            found[short] = member
    return options, found


def _find_names(words: Sequence[str], own: LabellerConfig | None) -> list[str]:
    """Return the labellers that words name, or those that are judged without."""
    default = [*([] if own is None else [own.name]), *BOUNDS]
    return list(dict.fromkeys(map(absolute_name, name_members(words, "--labellers", LabellerConfig) or default)))


def _choose_labeller(own: LabellerConfig | None, name: str) -> LabellerConfig:
    """Return a labeller: that of the recipe with its options, another with its defaults."""
    if own is not None and name == own.name:
        return own
    return find_member(LabellerConfig, name)()


def _make_key(name: str) -> str:
    """Return how the options of a labeller begin: its name, or the name of a class of the user's."""
    return split_outside(name)[1] if is_outside(name) else name


def _write_files(asked: _Request, judged: _Judged) -> None:
    """Write records and rows where that is asked for, and say where."""
    out = asked.options.out or (None if asked.folder is None else str(asked.folder / "label-quality"))
    if out is None:
        return
    folder = make_folder(Path(out))
    records = [{"labeller": name, **found.to_record()} for name, found in judged.qualities.items()]
    content = {"notes": judged.notes, "labellers": records}
    write_atomically(folder / "quality.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    write_atomically(folder / "quality.csv", to_csv([_flatten_record(record) for record in records]))
    say(f"records: {folder / 'quality.json'}\ntable: {folder / 'quality.csv'}")


def _flatten_record(record: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Return a record without records in it, as a row: ``pairs.across.precision_positive``."""
    row: dict[str, Any] = {}
    for name, value in record.items():
        row |= _flatten_record(value, prefix=f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return row
