"""Compare ways of using images without masks for segmentation; print the tables of docs/results/segmentation.md.

    OMP_NUM_THREADS=1 python benchmarks/segmentation.py scenes                           generated scenes
    OMP_NUM_THREADS=1 python benchmarks/segmentation.py scenes --what factors            temperature, sampling ...
    AUXO_DATA=... OMP_NUM_THREADS=1 python benchmarks/segmentation.py camvid --first imagenet --num-labelled 40
    OMP_NUM_THREADS=1 python benchmarks/segmentation.py scenes --no-train                tables of the runs there are

Every run is a run directory under --out; finished ones are read, not repeated, so an interrupted comparison goes on.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Literal, TypeAlias

import tyro
from scipy.stats import spearmanr

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.evaluation.label_quality import DrawingRule, choose_judged, judge_labeller
from auxo.layers.decoders.unet import UNet
from auxo.methods.pixel_contrast import PixelContrast
from auxo.methods.pretrain import Pretraining
from auxo.methods.segmenter import Segmenter
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.labellers import LabellerConfig, LendsLabelTools
from auxo.pretexts.labellers.encoder import Encoder
from auxo.pretexts.labellers.image_id import ImageId
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.pretexts.labellers.random import Random
from auxo.pretexts.labellers.segmenter import Segmenter as FewLabels
from auxo.pretexts.labellers.superpixels import Superpixels
from auxo.pretexts.pixels import PixelObjectiveConfig, PixelSampling
from auxo.pretexts.pixels.contrast import Contrast
from auxo.pretexts.pixels.cross_entropy import CrossEntropy
from auxo.pretexts.simclr import SimCLR
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig, Transfer
from auxo.runs.history import RunHistory
from auxo.runs.model import splits_of
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from auxo.tasks import TaskConfig
from auxo.training.run import untrained_stages
from comparison import Job, compute, describe, difference, spread, train_here

Init: TypeAlias = Literal["random", "imagenet"]

_PRE, _TUNE = "pretrain", "train"
_AS_IS = "contrast, A"
_EFFICIENT, _LAYERS = "efficientnet_lite0", ("stage2", "stage3", "stage5")
_WITHIN = Contrast.Config(positives="same_image", negatives="same_image")
_CONTRAST = Contrast.Config()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and where."""

    on: tyro.conf.Positional[Literal["scenes", "camvid"]]
    """Generated scenes, or frames from a car (AUXO_DATA)."""
    what: Literal["lines", "factors", "labellers"] = "lines"
    """The main table; what the contrast depends on; or labellers, with the quality of their labels."""
    num_labelled: int | None = None
    """Images with masks; default 10, all of them where it is 0."""
    first: Init = "random"
    """First weights of the network on frames: random, or published ones of ImageNet."""
    length: int = 1
    """How many times as long as on the page both stages are."""
    seeds: tuple[int, ...] = ()
    """Every line sees the same images, first weights and order of data under one seed; default those of the page."""
    lines: tuple[str, ...] = ()
    """Some of the lines; default all."""
    train: bool = True
    """Make the runs that are missing; else the table is of the lines whose runs are all there."""
    out: Path = Path("runs/results/segmentation")
    """Folder of the run directories."""


@dataclass(frozen=True)
class World:
    """What the lines of a table share.

    Args:
        data: images, labelled and not.
        backbone: and its first weights.
        decoder: width of every level of the decoder.
        pre_epochs: passes over all images before masks are learned.
        tune_steps: steps of learning masks, of ``batch_size`` images each.
        num_images: training images.
        num_labelled: of them with a mask.
        rate: of all optimisers.
        retint: draw each image's tint and contrast anew.
        rate_after: share of the rate at which backbone and decoder learn masks where both were learned before.
    """

    data: DataConfig
    backbone: BackboneConfig
    decoder: int
    pre_epochs: int
    tune_steps: int
    num_images: int
    num_labelled: int
    rate: float = 3e-3
    retint: bool = True
    batch_size: int = 8
    rate_after: float = 0.1

    @property
    def pre_steps(self) -> int:
        """Steps before masks are learned."""
        return self.pre_epochs * -(-self.num_images // self.batch_size)

    @property
    def equal_epochs(self) -> int:
        """Passes over the labelled images that show as many images as those before masks are learned."""
        return round(self.pre_epochs * self.num_images / self.num_labelled)

    @property
    def optimizer(self) -> OptimizerConfig:
        """Of every stage."""
        return OptimizerConfig(name="adamw", lr=self.rate, schedule="cosine", moves="step")


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Args:
        labeller: gives the labels of the first stage; ``None`` where there is no such stage, or another.
        objective: of the first stage.
        images: which images it sees.
        is_longer: whether learning masks sees as many images more as the first stage of others does.
        is_simclr: whether the first stage compares whole images.
        length: of the first stage, over that of the others.
    """

    labeller: LabellerConfig | None = None
    objective: PixelObjectiveConfig = _CONTRAST
    images: Literal["all", "labelled"] = "all"
    is_longer: bool = False
    is_simclr: bool = False
    length: float = 1.0


def list_lines(energy: LabellerConfig) -> dict[str, Line]:
    """Return the lines by name; A is a labeller without masks, B learns from the few."""
    return {
        "none": Line(),
        "none, longer": Line(is_longer=True),
        "contrast of images (SimCLR)": Line(is_simclr=True),
        _AS_IS: Line(energy),
        "cross-entropy, A": Line(energy, CrossEntropy.Config()),
        "contrast, A, pairs within an image": Line(energy, _WITHIN),
        "contrast, B": Line(FewLabels.Config()),
        "cross-entropy, B (self-training)": Line(FewLabels.Config(), CrossEntropy.Config()),
        "contrast, labelled images only": Line(Oracle.Config(), images="labelled"),
        "contrast, oracle": Line(Oracle.Config()),
        "contrast, random": Line(Random.Config()),
    }


def make_config(world: World, line: Line, *, seed: int) -> ExperimentConfig:
    """Return the run of a line: an epoch of learning masks is a pass over the labelled images."""
    epochs = round(world.tune_steps / -(-world.num_labelled // world.batch_size))
    epochs += world.equal_epochs if line.is_longer else 0
    decoder = UNet.Config(width=world.decoder)
    first = _make_first(world, line, decoder)
    handed = () if first is None else ("backbone",) if line.is_simclr else ("backbone", "decoder")
    method = Segmenter.Config(
        optimizer=world.optimizer,
        decoder=decoder,
        retint=world.retint,
        # A backbone whose decoder is new learns nothing at a tenth of the rate (see the page).
        backbone_rate=world.rate_after if "decoder" in handed else 1.0,
        decoder_rate=world.rate_after if "decoder" in handed else 1.0,
    )
    transfers = tuple(Transfer(stage=_PRE, part=part, to=part) for part in handed)
    tune = StageConfig(name=_TUNE, method=method, epochs=epochs, batch_size=world.batch_size, transfers=transfers)
    return ExperimentConfig(
        stages=(tune,) if first is None else (first, tune),
        task=TaskConfig(name="segmentation"),
        backbone=world.backbone,
        data=replace(world.data, num_labelled=world.num_labelled, keep_hidden=True),
        training=TrainingConfig(evaluate_every=10_000, keep_checkpoints=1, tensorboard=False),
        runtime=RuntimeConfig(device="cpu", threads=1),
        seed=seed,
    )


def _make_first(world: World, line: Line, decoder: UNet.Config) -> StageConfig | None:
    """Return the stage before masks are learned, if there is one."""
    epochs = max(1, round(line.length * world.pre_epochs))
    if line.is_simclr:
        pretext = SimCLR.Config(hidden=64, outputs=32)
        method = Pretraining.Config(pretext=pretext, optimizer=world.optimizer)
        return StageConfig(name=_PRE, method=method, epochs=epochs, batch_size=4 * world.batch_size)
    if line.labeller is None:
        return None
    return StageConfig(
        name=_PRE,
        method=PixelContrast.Config(
            optimizer=world.optimizer,
            decoder=decoder,
            retint=world.retint,
            labeller=line.labeller,
            objective=line.objective,
            images=line.images,
        ),
        epochs=epochs if line.images == "all" else world.equal_epochs,
        batch_size=world.batch_size,
    )


def list_factors() -> dict[str, Line]:
    """Return what the contrast with labels of texture energy depends on: one thing changed in each line."""
    sampling = PixelSampling()
    changed = {
        **{f"temperature {t:g}": replace(_CONTRAST, temperature=t) for t in (0.05, 0.2, 0.5)},
        "positives of other images": replace(_CONTRAST, positives="cross_image"),
        "negatives of the image": replace(_CONTRAST, negatives="same_image"),
        "form of SupCon": replace(_CONTRAST, form="supcon"),
        "form of Zhao et al.": replace(_CONTRAST, form="zhao"),
        "2 pixels of a label": replace(_CONTRAST, sampling=replace(sampling, per_label=2)),
        "32 pixels of a label": replace(_CONTRAST, sampling=replace(sampling, per_label=32)),
        "no projector": replace(_CONTRAST, num_layers=0),
        "32 outputs": replace(_CONTRAST, outputs=32),
        "memory of 500": replace(_CONTRAST, memory=500),
    }
    lines = {_AS_IS: Line(PatchEnergy.Config())}
    lines |= {name: Line(PatchEnergy.Config(), objective) for name, objective in changed.items()}
    return {**lines, **{f"{length:g} times as long": Line(PatchEnergy.Config(), length=length) for length in (0.4, 4)}}


def list_labellers(options: Options) -> dict[str, Line]:
    """Return lines that differ in the labels alone."""
    main = list_lines(_choose_energy(options))
    lines = {name: main[name] for name in (_AS_IS, "contrast, B", "contrast, oracle", "contrast, random")}
    if options.on == "camvid":
        lines["texture energy"] = Line(PatchEnergy.Config(clusters=22))
        changed = {
            f"encoder, {layer}": Encoder.Config(source=_EFFICIENT, layer=layer, clusters=22) for layer in _LAYERS
        }
        lines |= {name: Line(config) for name, config in changed.items()}
    else:
        lines |= {f"A, {count} labels": Line(PatchEnergy.Config(clusters=count)) for count in (6, 24, 48)}
        layers = ("stage1", "stage2", "stage3")
        lines |= {f"random network, {layer}": Line(Encoder.Config(layer=layer, clusters=12)) for layer in layers}
    return {**lines, "image as label": Line(ImageId.Config()), "superpixels": Line(Superpixels.Config())}


def _choose_energy(options: Options) -> LabellerConfig:
    """Return the labeller A, which needs no mask."""
    return PatchEnergy.Config() if options.on == "scenes" else Encoder.Config(source=_EFFICIENT, clusters=22)


def choose_world(options: Options) -> World:
    """Return what the lines share."""
    if options.on == "scenes":
        return World(
            data=DataConfig(scenario="textured_scenes", augment="crop"),
            backbone=BackboneConfig(name="conv4"),
            decoder=32,
            pre_epochs=10,
            tune_steps=240,
            num_images=200,
            num_labelled=10 if options.num_labelled is None else options.num_labelled or 200,
        )
    is_trained = options.first == "imagenet"
    return World(
        data=DataConfig(scenario="camvid", augment="crop_flip"),
        backbone=BackboneConfig(name="efficientnet_lite0", pretrained=is_trained),
        decoder=32,
        pre_epochs=3,
        tune_steps=200,
        num_images=367,
        num_labelled=10 if options.num_labelled is None else options.num_labelled or 367,
        # A tenth of either was far behind on the validation images, at a seed that the tables do not have.
        rate_after=1.0,
        retint=False,
    )


def choose_lines(options: Options) -> dict[str, Line]:
    """Return the lines that were asked for."""
    if options.what == "lines":
        lines = list_lines(_choose_energy(options))
    else:
        lines = list_factors() if options.what == "factors" else list_labellers(options)
    unknown = [name for name in options.lines if name not in lines]
    if unknown:
        raise SystemExit(f"no line {unknown[0]!r}; there are {', '.join(lines)}")
    return {name: lines[name] for name in options.lines or lines}


def measure_quality(config: ExperimentConfig, labeller: LabellerConfig, runtime: Runtime) -> float:
    """Return the quality in percent of a labeller's labels across images, of the validation images."""
    splits = splits_of(config)
    trainer = next(iter(untrained_stages(config, splits=splits, runtime=runtime)))
    assert isinstance(trainer.method, LendsLabelTools)
    tools = trainer.method.label_tools()
    found = judge_labeller(
        labeller,
        reader=trainer.reader,
        splits=splits,
        sets=choose_judged(splits, images="val", seed=config.seed),
        tools=tools,
        rule=DrawingRule(size=(tools.height // 2, tools.width // 2), batch_size=8),
        seed=trainer.seed,
    )
    return 100 * found.cross_quality


def print_quality(world: World, lines: dict[str, Line], folders: dict[str, list[Path]], seeds: tuple[int, ...]) -> None:
    """Print the quality of the labels beside the mean IoU after fine-tuning, and how their orders agree."""
    qualities, results = {}, {}
    with open_runtime(RuntimeConfig(device="cpu", threads=1)) as runtime:
        for name, places in folders.items():
            labeller = lines[name].labeller
            assert labeller is not None
            configs = [make_config(world, lines[name], seed=seed) for seed in seeds]
            qualities[name] = mean(measure_quality(config, labeller, runtime) for config in configs)
            results[name] = mean(read_results(place)["test"] for place in places)
    print("| labels | quality across images | mIoU |\n|---|---:|---:|")
    for name in sorted(qualities, key=lambda name: -qualities[name]):
        print(f"| {name} | {qualities[name]:.1f} | {results[name]:.1f} |")
    order = spearmanr([qualities[name] for name in results], list(results.values()))
    print(f"\nSpearman {order.statistic:.2f} over {len(results)} labellers")


def name_folder(name: str) -> str:
    """Return a folder's name for a line."""
    return "".join(letter if letter.isalnum() or letter == "." else "-" for letter in name)


def read_results(folder: Path) -> dict[str, float]:
    """Return the mean IoU in percent by split."""
    return {row.split: 100 * row.main.value for row in RunHistory.read_finished(folder).first_head()}


def print_table(world: World, folders: dict[str, list[Path]], title: str) -> None:
    """Print mean IoU of every line with its differences to the first lines, and what the runs cost."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, places in folders.items():
        runs = [read_results(place) for place in places]
        found[name] = {split: [run[split] for run in runs] for split in runs[0] if split not in ("train", "val")}
    splits = list(next(iter(found.values())))
    rivals = [name for name in ("none", "none, longer", _AS_IS) if name in found]
    print(
        f"\n**{title}**: {len(next(iter(folders.values())))} seeds, {world.num_labelled} images with masks; mIoU in %\n"
    )
    print(f"| line | {' | '.join(splits)} | {' | '.join(f'test - {name}' for name in rivals)} | 10^9 flop |")
    print("|---" * (1 + len(splits) + len(rivals)) + "|---:|")
    for name, values in found.items():
        cells = [spread(values[split]) for split in splits]
        pairs = ["" if name == rival else difference(values["test"], found[rival]["test"]) for rival in rivals]
        flops = mean(compute(place)[1] for place in folders[name]) / 1e9
        print(f"| {name} | {' | '.join(cells)} | {' | '.join(pairs)} | {flops:.0f} |")
    print(
        "\n| test, by seed |" + "".join(f" {place.name.removeprefix('seed')} |" for place in folders[next(iter(found))])
    )
    print("|---|" + "---:|" * len(folders[next(iter(found))]))
    for name, values in found.items():
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values['test'])} |")


def main() -> None:
    """Make the runs and print the table."""
    options = tyro.cli(Options, description=__doc__)
    world, lines = choose_world(options), choose_lines(options)
    world = replace(world, pre_epochs=options.length * world.pre_epochs, tune_steps=options.length * world.tune_steps)
    is_whole = options.what == "lines" and options.num_labelled != 0
    count = 3 if not is_whole else 10 if options.on == "scenes" else 5
    seeds = options.seeds or tuple(range(count))
    place = f"{options.on}-{options.first}-{world.num_labelled}" + (f"-x{options.length}" if options.length > 1 else "")
    folders = {name: [options.out / place / name_folder(name) / f"seed{seed}" for seed in seeds] for name in lines}
    if options.train:
        jobs = [
            Job(make_config(world, line, seed=seed), folders[name][number])
            for number, seed in enumerate(seeds)
            for name, line in lines.items()
        ]
        train_here(jobs)
    whole = {
        name: places
        for name, places in folders.items()
        if all(at.exists() and RunHistory.read(at).is_finished for at in places)
    }
    if len(seeds) < 2:
        raise SystemExit("a table wants two seeds or more")
    if whole:
        print_table(world, whole, place)
        if options.what == "labellers":
            print_quality(world, lines, whole, seeds)
        print(describe(f"\n{world.tune_steps} steps of masks after {world.pre_steps} without"))


if __name__ == "__main__":
    main()
