"""``auxo evaluate``: judge a trained model again, also under corruptions, under attack, and by its features alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from auxo.cli.changes import name_members, read_with_members
from auxo.cli.columns import add_columns
from auxo.cli.earlier import write_results
from auxo.cli.options import ModelOptions
from auxo.cli.terminal import print_table
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.data import EvaluationSplit, Splits, ood_splits, stratified_parts
from auxo.data.config import Unknown
from auxo.data.corruption_strengths import CorruptionStrengths
from auxo.data.corruptions import KINDS, SEVERITIES
from auxo.errors import ConfigError
from auxo.evaluation import (
    PROBES,
    STRENGTHS,
    FittedProbe,
    ProbeName,
    Reader,
    Table,
    build_corruption_table,
    build_shift_table,
    build_table,
    evaluate_probes,
    evaluate_under_attack,
    evaluate_under_corruptions,
    fit_probes,
    shift_set,
)
from auxo.evaluation.attacks import EPSILON, EPSILONS, AttackConfig
from auxo.files import prepare_place
from auxo.options import Options as CheckedOptions
from auxo.options import Range, find_member
from auxo.random import derive_seed
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.history import RunHistory
from auxo.runs.model import TrainedModel, load_model, splits_of
from auxo.runs.results import EvaluationRow
from auxo.runtime import Runtime, RuntimeConfig, open_runtime

DESCRIPTION = """Judge a trained model again, on the run's own sets or on labelled images of yours, which are resized
and cropped to its input. The run's own sets are read from where its config names them; --moved OLD=NEW says where they
are now."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo evaluate``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run, or of one in which the stage that is named is finished."""
    stage: str | None = None
    """Judge what this stage of the run ended with; by default the model that the run ended with."""
    data: tuple[str, ...] = ()
    """Labelled sets to judge on: folder, Parquet, CSV or hf://owner/name[:split]; by default all of the run's own."""
    split: str | None = None
    """Judge on one of the run's own sets only, such as val, test or ood/usps; under corruptions or attack test."""
    columns: tuple[str, ...] = ()
    """Group by these further columns of the data, too, also of a run trained without them; as for --data.columns, but
    images without a value stay, in a group of their own."""
    unknown: Annotated[Unknown | None, tyro.conf.arg(name="data.unknown")] = None
    """With --data: what to do with an image that has no label or one that train does not have: stop (refuse), or leave
    it out (ignore); default the run's own choice."""
    images: Annotated[int | None, Range(low=1)] = None
    """Judge on at most so many images of each set, drawn with the class proportions kept; default all."""
    probe: tuple[Literal["all"] | ProbeName, ...] = ()
    """Judge the features instead of the class heads, by classifiers fitted to those of the training images: a vote of
    nearest neighbours (knn), a linear classifier (linear); "all" means both."""
    neighbours: Annotated[int | None, Range(low=1)] = None
    """With --probe knn: training images that vote; default 20, or all where there are fewer."""
    shift: str | None = None
    """Judge a set as if this further column of the data, such as background, went with the class more or less often
    than it does: its images are weighted, see --strengths. Default the test set; a quantity is cut into four ranges."""
    strengths: tuple[float, ...] = STRENGTHS
    """With --shift: probabilities that an image has the value that is usual in its class."""
    pairs: tuple[str, ...] = ()
    """With --shift: which value is usual in each class, as cat=land dog=water; by default the one that goes with it
    most in the training images, or with --data in the set itself."""
    corruptions: bool = False
    """Judge under common corruptions instead: every kind at every severity."""
    kinds: tuple[str, ...] = KINDS
    """With --corruptions: which kinds."""
    severities: tuple[int, ...] = SEVERITIES
    """With --corruptions: which severities, 1 (mild) to 5 (strong)."""
    corruption_strengths: CorruptionStrengths = "auxo"
    """With --corruptions: how strong severities are, as auxo chose or as CIFAR-10-C and Tiny-ImageNet-C are made."""
    attack: tuple[str, ...] = ()
    """Judge under these attacks by the library foolbox instead, an extra to install (auxo list attacks), or yours,
    file.py:Name; "all" means every one of auxo's. Each has its defaults, or --attack.NAME.OPTION."""
    epsilon: Annotated[float, EPSILONS] = EPSILON
    """With --attack: largest change of a pixel, in units of the range 0..1; 8/255 is 0.0314."""
    out: str | None = None
    """File for the results, one JSON object a line; by default evaluation.jsonl, shift.jsonl, corruptions.jsonl,
    attacks.jsonl or probes.jsonl in the run directory."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=lambda: ModelOptions(batch_size=500))
    """How the model is loaded and run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen = (self.kinds, self.severities, self.corruption_strengths)
        is_choice_read = self.corruptions or chosen == (KINDS, SEVERITIES, "auxo")
        is_vote_read = self.neighbours is None or "knn" in self.probes
        is_spoiled = self.corruptions or bool(self.attack)
        is_shift_read = self.shift is not None or (self.strengths, self.pairs) == (STRENGTHS, ())
        other = bool(self.probe) or is_spoiled
        checks = (
            (not (self.shift and other), "--shift without --probe, --corruptions and --attack", "both", "judge twice"),
            (is_shift_read, "--shift beside --strengths and --pairs", "none", "pass --shift COLUMN"),
            (bool(self.strengths), "a strength", "none", "leave --strengths out"),
            (not (self.corruptions and self.attack), "--corruptions or --attack", "both", "judge twice"),
            (not (self.probe and is_spoiled), "--probe without --corruptions and --attack", "both", "judge twice"),
            (is_vote_read, "--probe knn beside --neighbours", "none", "pass --probe knn"),
            (not (self.data and self.split), "--data or --split", "both", "leave one out"),
            (bool(self.data) or not self.unknown, "--data beside --data.unknown", "none", "its sets are the run's"),
            (bool(self.attack) or self.epsilon == EPSILON, "--attack beside --epsilon", "none", "pass --attack all"),
            (
                is_choice_read,
                "--corruptions beside --kinds, --severities and --corruption-strengths",
                "none",
                "pass --corruptions",
            ),
            (bool(self.kinds and self.severities), "a kind and a severity of corruption", "none", "leave them out"),
            (len(self.data) <= 1 or not self.corruptions, "one set under --corruptions", len(self.data), "name one"),
        )
        for is_valid, expected, got, fix in checks:
            if not is_valid:
                raise ConfigError(expected, str(got), fix)

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes of the features, if any."""
        return PROBES if "all" in self.probe else tuple(name for name in PROBES if name in self.probe)

    @property
    def file_name(self) -> str:
        """Where the results go by default."""
        if self.shift:
            return "shift.jsonl"
        if self.corruptions:
            whose = self.corruption_strengths
            return "corruptions.jsonl" if whose == "auxo" else f"corruptions-{whose}.jsonl"
        return "attacks.jsonl" if self.attack else "probes.jsonl" if self.probe else "evaluation.jsonl"


def run(words: Sequence[str]) -> None:
    """Measure every head, print the table, and write the rows."""
    if len(words) > 1 and not words[0].startswith("-") and not words[1].startswith("-"):
        raise ConfigError("options of auxo evaluate after RUN", words[1], f"to judge on it, pass --data {words[1]}")
    members = _find_attacks(words)
    options, attacks = read_with_members(
        Options, words, option="attack", members=members, command="auxo evaluate", description=DESCRIPTION
    )
    folder = Path(options.run)
    out = prepare_place(Path(options.out) if options.out else folder / options.file_name)
    config = read_run_config(folder, code=options.use.code)
    with open_runtime(RuntimeConfig(device=options.use.device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime, stage=options.stage)
        asked = (*options.columns, *filter(None, (options.shift,)))
        config = replace(config, data=add_columns(config.data, asked))
        own = None if options.data and not options.probe else splits_of(config)
        if own is not None:
            model.check_splits(own)
        splits = _choose_splits(options, config, model, own)
        judge = _Judge.of(options, attacks, config, model, runtime, own)
        if options.shift is not None:
            _judge_under_shift(options, options.shift, splits, judge.reader, own, out=out)
            return
        rows = [row for split in splits for row in judge.rows(split)]
        if runtime.is_main:
            table = judge.table(rows)
            has_own = not options.data and options.images is None and not options.corruptions
            told = [f"note: {note}" for note in dict.fromkeys(note for split in splits for note in split.source.notes)]
            notes = RunHistory.read(folder).changed_sets(rows) if has_own else []
            write_results(out, "".join(json.dumps(judge.record(row)) + "\n" for row in rows))
            print_table(table)
            say("\n".join([*told, *notes, f"results: {out}"]))


def _choose_splits(
    options: Options, config: ExperimentConfig, model: TrainedModel, own: Splits | None
) -> list[EvaluationSplit]:
    """Return the run's own sets, one of them, or the ones that are named, or part of each."""
    splits: list[EvaluationSplit]
    if options.data or own is None:
        data = replace(config.data, unknown=options.unknown or config.data.unknown)
        splits = list(ood_splits([model.read_judged(spec, data) for spec in options.data]))
    else:
        splits = list(own.evaluation())
        wanted = options.split or ("test" if options.corruptions or options.attack or options.shift else None)
        if wanted is not None:
            names = [split.name for split in splits]
            if wanted not in names:
                raise ConfigError(f"a split of {', '.join(names)}", repr(wanted), "name one of them with --split")
            splits = [splits[names.index(wanted)]]
    return [_limit_images(split, options.images, config) for split in splits]


def _limit_images(split: EvaluationSplit, count: int | None, config: ExperimentConfig) -> EvaluationSplit:
    """Return at most so many images of a split under its name."""
    source = split.source
    if count is None or count >= len(source):
        return split
    seed = derive_seed(config.seed, "evaluate", split.name)
    return replace(
        split, source=stratified_parts(source, [count], [source.name], seed=seed, task=config.task.kind())[0]
    )


def _judge_under_shift(
    options: Options, name: str, splits: Sequence[EvaluationSplit], reader: Reader, own: Splits | None, *, out: Path
) -> None:
    """Measure sets at every strength of a column, print the table, and write the rows."""
    head = reader.require_head()
    curves = [
        shift_set(
            reader.task,
            split.source,
            reader.scores(split)[head],
            name,
            split=split.name,
            head=head,
            train=None if own is None else own.train.source,
            usual=dict(_read_pair(pair) for pair in options.pairs) or None,
            strengths=options.strengths,
        )
        for split in splits
    ]
    if reader.runtime.is_main:
        write_results(out, "".join(json.dumps(row) + "\n" for curve in curves for row in curve.to_records()))
        print_table(build_shift_table(curves))
        notes = dict.fromkeys(note for split in splits for note in split.source.notes)
        say("\n".join([*(f"note: {note}" for note in notes), f"results: {out}"]))


def _read_pair(text: str) -> tuple[str, str]:
    """Return class and value of ``CLASS=VALUE``."""
    label, is_pair, value = text.rpartition("=")
    if not is_pair or not label or not value:
        raise ConfigError("--pairs of a class and its usual value", repr(text), "write them as cat=land")
    return label.strip(), value.strip()


@dataclass(frozen=True)
class _Judge:
    """What is judged, and how.

    Args:
        options: of the command.
        attacks: those to be made, if any.
        config: of the run.
        reader: of the model of the run or of one of its stages.
        fitted: the probes that judge its features; none where its heads are judged.
    """

    options: Options
    attacks: Sequence[AttackConfig]
    config: ExperimentConfig
    reader: Reader
    fitted: Sequence[FittedProbe]

    @classmethod
    def of(
        cls,
        options: Options,
        attacks: Sequence[AttackConfig],
        config: ExperimentConfig,
        model: TrainedModel,
        runtime: Runtime,
        own: Splits | None,
    ) -> "_Judge":
        """Return the judge that the options ask for.

        Raises:
            ConfigError: there is nothing to be judged but features, and no probe was asked for.
        """
        reader = Reader.of(model, runtime=runtime, batch_size=options.use.batch_size, workers=config.data.workers)
        if options.probe and own is not None:
            names, count = options.probes, options.neighbours
            fitted = fit_probes(reader, own.train, own.val, probes=names, neighbours=count)
            return cls(options, attacks, config, reader, fitted)
        if not reader.predicts and not model.method.pretext_heads():
            fix = "judge its features with --probe all"
            raise ConfigError("a model with a head that predicts or a pretext", type(model.method).__name__, fix)
        return cls(options, attacks, config, reader, ())

    def rows(self, split: EvaluationSplit) -> list[EvaluationRow]:
        """Measure a split as it is, by probes, under corruptions or under attack."""
        options, reader, seed = self.options, self.reader, self.config.seed
        if self.fitted:
            return evaluate_probes(self.fitted, reader, split)
        if options.corruptions:
            return evaluate_under_corruptions(
                reader,
                split,
                seed=derive_seed(seed, "evaluate", "corruptions"),
                kinds=options.kinds,
                severities=options.severities,
                strengths=options.corruption_strengths,
            )
        if self.attacks:
            draws, epsilon = derive_seed(seed, "evaluate", "attacks"), options.epsilon
            return evaluate_under_attack(reader, split, attacks=self.attacks, epsilon=epsilon, seed=draws)
        return reader.evaluate(split)

    def record(self, row: EvaluationRow) -> dict[str, object]:
        """Return what the file says of a row."""
        settings: Mapping[str, object] | None = {probe.head: probe.settings for probe in self.fitted}.get(row.head)
        if self.attacks:
            settings = {"epsilon": self.options.epsilon, "attacks": [asdict(attack) for attack in self.attacks]}
        stage = self.options.stage or self.config.stages[-1].name
        return {**row.to_record(), "stage": stage, **({} if settings is None else {"settings": dict(settings)})}

    def table(self, rows: Sequence[EvaluationRow]) -> Table:
        """Return the table of the rows, with what they were measured by."""
        if self.options.corruptions:
            return build_corruption_table(rows)
        folder, stage = Path(self.options.run), self.options.stage
        selection, compute = RunHistory.read(folder).of_stage(self.config, stage)
        table = build_table(rows, selection=selection, compute=compute)
        if self.fitted:
            return replace(table, caption=_about_probes(self.fitted) + table.caption)
        if self.attacks:
            return replace(table, caption=_about_attacks(self.attacks, self.options.epsilon) + table.caption)
        return table


def _find_attacks(words: Sequence[str]) -> dict[str, AttackConfig]:
    """Return the attacks that words name, with their defaults, by what they are called.

    Raises:
        ConfigError: there is no such attack, two are called the same, or options of one that is not named are given.
    """
    chosen = name_members(words, "--attack", AttackConfig)
    found: dict[str, AttackConfig] = {}
    for attack in (find_member(AttackConfig, name)() for name in chosen):
        if attack.title in found:
            raise ConfigError("attacks that are called differently", f"{attack.title} twice", "rename one")
        found[attack.title] = attack
    for word in words:
        key, dot, _ = word.removeprefix("--attack.").partition(".")
        if word.startswith("--attack.") and dot and key.replace("-", "_") not in found:
            got = " ".join(["--attack", *found]) if found else "none"
            raise ConfigError(f"--attack {key} beside {word.partition('=')[0]}", got, f"pass --attack {key}, too")
    return found


def _about_attacks(attacks: Sequence[AttackConfig], epsilon: float) -> str:
    """Return what the caption says of attacks."""
    settings = {
        attack.title: {key: value for key, value in asdict(attack).items() if key != "name"} for attack in attacks
    }
    texts = [
        f"{title} with " + ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in own.items())
        for title, own in settings.items()
        if own
    ]
    return (
        f"Attacks by foolbox within {epsilon:.4g} ({255 * epsilon:.3g}/255) of every pixel"
        f"{''.join(f'; {text}' for text in texts)}; what is measured under attack is an upper bound. "
    )


def _about_probes(fitted: Sequence[FittedProbe]) -> str:
    """Return what the caption says of probes."""
    settings = {probe.head: probe.settings for probe in fitted}
    any_of = fitted[0].settings
    text = f"Probes of {any_of['num_features']} features, fitted to {any_of['bank']:,} training images. "
    if (knn := settings.get("knn")) is not None:
        text += f"knn: the {knn['neighbours']} nearest by cosine vote, weighted by exp(cosine / {knn['temperature']}). "
    if (linear := settings.get("linear_probe")) is not None:
        text += f"linear_probe: logistic regression with C = {linear['c']:g}, chosen on val. "
    return text
