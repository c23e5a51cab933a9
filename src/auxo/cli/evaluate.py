"""``auxo evaluate``: judge a trained model again, also under common corruptions and under attack."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from auxo.cli.options import parse_options
from auxo.cli.terminal import print_table
from auxo.cli.train import read_run_config
from auxo.data import EvaluationSplit, load_splits, ood_splits, read_source, stratified_indices
from auxo.data.corruptions import KINDS, SEVERITIES
from auxo.errors import ConfigError
from auxo.evaluation import (
    ATTACKS,
    AttackConfig,
    AttackName,
    Compute,
    EvaluationRow,
    Selection,
    Table,
    build_corruption_table,
    build_table,
    evaluate,
    evaluate_under_attack,
    evaluate_under_corruptions,
)
from auxo.experiment import ExperimentConfig
from auxo.random import derive_seed
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from auxo.training import TrainedModel, load_model, read_records, require_folder_of, write_atomically

__all__ = ["run"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``auxo evaluate``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run."""
    data: tuple[str, ...] = ()
    """Labelled sets to judge on: folder, Parquet, CSV or hf://owner/name[:split]; by default all of the run's own."""
    split: str | None = None
    """Judge on one of the run's own sets only, such as val, test or ood/usps; under corruptions or attack test."""
    images: int | None = None
    """Judge on at most so many images of each set, drawn with the class proportions kept; default all."""
    corruptions: bool = False
    """Judge under common corruptions instead: every kind at every severity."""
    kinds: tuple[str, ...] = KINDS
    """With --corruptions: which kinds."""
    severities: tuple[int, ...] = SEVERITIES
    """With --corruptions: which severities, 1 (mild) to 5 (strong)."""
    attack: tuple[Literal["all"] | AttackName, ...] = ()
    """Judge under these attacks by the library foolbox instead, an extra to install; "all" means every one."""
    epsilon: float = AttackConfig.epsilon
    """With --attack: largest change of a pixel, in units of the range 0..1; 8/255 is 0.0314."""
    steps: int = AttackConfig.steps
    """With --attack: steps of pgd, pgd_margin and momentum, >= 1."""
    step_size: float = AttackConfig.step_size
    """With --attack: change of every pixel in one of these steps, in units of the range 0..1."""
    restarts: int = AttackConfig.restarts
    """With --attack: random starts of pgd and pgd_margin, >= 1; the worst counts."""
    out: str | None = None
    """File for the results, one JSON object a line; by default evaluation.jsonl, corruptions.jsonl or attacks.jsonl
    in the run directory."""
    device: str = "auto"
    """"auto", "cpu", "cuda", "cuda:1" or "mps"."""
    batch_size: int = 500
    """Images per forward pass, >= 1."""
    code: str | None = None
    """Python file of a method outside auxo that the run may import."""

    def __post_init__(self) -> None:
        is_strength_read = bool(self.attack) or self.strength == AttackConfig()
        is_choice_read = self.corruptions or (self.kinds, self.severities) == (KINDS, SEVERITIES)
        checks = (
            (self.batch_size >= 1, "batch-size >= 1", self.batch_size, "give the number of images per pass"),
            (self.images is None or self.images >= 1, "images >= 1", self.images, "leave it out for all"),
            (not (self.corruptions and self.attack), "--corruptions or --attack", "both", "judge twice"),
            (not (self.data and self.split), "--data or --split", "both", "leave one out"),
            (is_strength_read, "--attack beside the strength of one", "none", "pass --attack all"),
            (is_choice_read, "--corruptions beside --kinds and --severities", "none", "pass --corruptions"),
            (bool(self.kinds and self.severities), "a kind and a severity of corruption", "none", "leave them out"),
            (len(self.data) <= 1 or not self.corruptions, "one set under --corruptions", len(self.data), "name one"),
        )
        for is_valid, expected, got, fix in checks:
            if not is_valid:
                raise ConfigError(expected, str(got), fix)

    @property
    def strength(self) -> AttackConfig:
        """How strong an attack would be."""
        return AttackConfig(epsilon=self.epsilon, steps=self.steps, step_size=self.step_size, restarts=self.restarts)

    @property
    def attacks(self) -> AttackConfig | None:
        """The attacks to be made, if any."""
        if not self.attack:
            return None
        names = ATTACKS if "all" in self.attack else tuple(name for name in ATTACKS if name in self.attack)
        return replace(self.strength, attacks=names)

    @property
    def file_name(self) -> str:
        """Where the results go by default."""
        return "corruptions.jsonl" if self.corruptions else "attacks.jsonl" if self.attack else "evaluation.jsonl"


def run(words: Sequence[str]) -> None:
    """Measure every head, print the table, and write the rows."""
    own = "on labelled pictures of yours, which are resized and cropped to its input"
    description = f"Judge a trained model again, on the run's own sets or {own}."
    if len(words) > 1 and not words[0].startswith("-") and not words[1].startswith("-"):
        raise ConfigError("options of auxo evaluate after RUN", words[1], f"to judge on it, pass --data {words[1]}")
    options = parse_options(Options, words, command="auxo evaluate", description=description)
    attacks = options.attacks
    folder = Path(options.run)
    out = Path(options.out) if options.out else folder / options.file_name
    if options.out:
        require_folder_of(out)
    config = read_run_config(folder, code=options.code)
    with open_runtime(RuntimeConfig(device=options.device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        rows: list[EvaluationRow] = []
        for split in _splits(options, config, model):
            rows += _rows(options, attacks, split, config=config, model=model, runtime=runtime)
        if runtime.is_main:
            table = _table(options, attacks, rows, folder)
            settings = {} if attacks is None else {"settings": asdict(attacks)}
            _keep_earlier(out)
            write_atomically(out, "".join(json.dumps({**row.to_record(), **settings}) + "\n" for row in rows))
            print_table(table)
            print(f"results: {out}")


def _keep_earlier(path: Path) -> None:
    """Rename earlier results to the first of ``NAME-1``, ``NAME-2``, … that is free, so that none are lost."""
    if path.exists():
        number = 1
        while (kept := path.with_stem(f"{path.stem}-{number}")).exists():
            number += 1
        path.rename(kept)


def _splits(options: Options, config: ExperimentConfig, model: TrainedModel) -> list[EvaluationSplit]:
    """Return the run's own sets, one of them, or the ones that are named, or part of each."""
    splits: list[EvaluationSplit]
    if options.data:
        sized = replace(config.data, image_size=model.image_size)
        sources = [read_source(spec, sized, class_names=model.task.class_names) for spec in options.data]
        for spec, source in zip(options.data, sources, strict=True):
            model.check_shape(source.image_shape, where=spec)
        splits = list(ood_splits(sources))
    else:
        own = load_splits(config.data, seed=config.seed)
        model.check_splits(own)
        splits = list(own.evaluation())
        wanted = options.split or ("test" if options.corruptions or options.attack else None)
        if wanted is not None:
            names = [split.name for split in splits]
            if wanted not in names:
                raise ConfigError(f"a split of {', '.join(names)}", repr(wanted), "name one of them with --split")
            splits = [splits[names.index(wanted)]]
    return [_part(split, options.images, seed=config.seed) for split in splits]


def _part(split: EvaluationSplit, count: int | None, *, seed: int) -> EvaluationSplit:
    """Return at most so many images of a split under its name."""
    if count is None or count >= len(split.source):
        return split
    (chosen,) = stratified_indices(split.source.labels, [count], seed=derive_seed(seed, "evaluate", split.name))
    return replace(split, source=split.source.subset(chosen, split.source.name))


def _rows(
    options: Options,
    attacks: AttackConfig | None,
    split: EvaluationSplit,
    *,
    config: ExperimentConfig,
    model: TrainedModel,
    runtime: Runtime,
) -> list[EvaluationRow]:
    """Measure a split as it is, under corruptions or under attack."""
    method, pipeline, size, workers = model.method, model.pipeline, options.batch_size, config.data.workers
    if options.corruptions:
        return evaluate_under_corruptions(
            method,
            split,
            pipeline=pipeline,
            runtime=runtime,
            batch_size=size,
            seed=derive_seed(config.seed, "evaluate", "corruptions"),
            kinds=options.kinds,
            severities=options.severities,
            workers=workers,
        )
    if attacks is not None:
        return evaluate_under_attack(
            method,
            split,
            pipeline=pipeline,
            runtime=runtime,
            batch_size=size,
            config=attacks,
            seed=derive_seed(config.seed, "evaluate", "attacks"),
            workers=workers,
        )
    return evaluate(method, split, pipeline=pipeline, runtime=runtime, batch_size=size, workers=workers)


def _table(options: Options, attacks: AttackConfig | None, rows: Sequence[EvaluationRow], folder: Path) -> Table:
    """Return the table of the rows, with what the attacks were if there were any."""
    if options.corruptions:
        return build_corruption_table(rows)
    selection, compute = _history(folder)
    table = build_table(rows, selection=selection, compute=compute)
    if attacks is None:
        return table
    made = (
        f"Attacks by foolbox within {attacks.epsilon:.4g} ({255 * attacks.epsilon:.3g}/255) of every pixel; "
        f"{attacks.steps} steps of {attacks.step_size:.4g} and {attacks.restarts} starts where an attack has them; an "
        "accuracy under attack is an upper bound. "
    )
    return replace(table, caption=made + table.caption)


def _history(folder: Path) -> tuple[Selection | None, Compute]:
    """Return how the run's checkpoint was chosen and what it cost."""
    end = [row for row in read_records(folder / "records.jsonl") if row["kind"] == "end"]
    if not end:
        return None, Compute(train_seconds=0.0, images=0)
    last = end[-1]
    selection = None if last["selection"] is None else Selection(**last["selection"])
    return selection, Compute(**{name: last[name] for name in ("train_seconds", "images", "flops")})
