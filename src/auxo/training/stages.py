"""The stages of a run, each built with the weights that it starts from."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from auxo.data import InputPipeline, Splits
from auxo.data.digests import SplitDigests
from auxo.errors import CheckpointError, OptionError
from auxo.files.signals import StopRequest
from auxo.interfaces import ImagePretextModule
from auxo.runs.checkpoint import Checkpoints, load_matching, load_part
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.networks import Kept, Networks
from auxo.runtime import Runtime
from auxo.training.feeds import Feeds
from auxo.training.observer import Observer
from auxo.training.trainer import StageTrainer


@dataclass(frozen=True)
class OpenRun:
    """What the stages of a run share."""

    config: ExperimentConfig
    document: str
    digest: str
    folder: Path
    splits: Splits
    data: SplitDigests
    pipeline: InputPipeline
    runtime: Runtime
    observer: Observer
    stop: StopRequest
    networks: dict[str, Kept] = field(default_factory=dict)
    """Frozen networks of its stages, by name; read once."""

    @property
    def stages(self) -> tuple[StageConfig, ...]:
        """What is trained, in order."""
        return self.config.trained_stages

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints are."""
        return self.folder / "checkpoints"

    def checkpoints(self, stage: StageConfig) -> Checkpoints:
        """Return the checkpoints of a stage."""
        often = self.config.training
        return Checkpoints(
            self.checkpoint_folder, stage.name, self.digest, often.keep_checkpoints, self.data, often.keep_every
        )


def build_trainer(run: OpenRun, stage: StageConfig, *, first_weights: bool = True) -> StageTrainer:
    """Build the method of a stage on the device, with the weights it starts from."""
    trainer = build_untrained(run, stage, first_weights=first_weights)
    for name in stage.sources:
        checkpoints = run.checkpoints(next(other for other in run.stages if other.name == name))
        weights, origin = checkpoints.read_weights(checkpoints.final), str(checkpoints.final)
        transfers = [transfer for transfer in stage.transfers if transfer.stage == name]
        for transfer in transfers:
            load_part(trainer.method, weights, part=transfer.part, to=transfer.to, origin=origin)
        if not transfers and not load_matching(trainer.method, weights, origin=origin):
            fix = "use one backbone for both stages"
            raise CheckpointError(f"weights that fit stage {stage.name}", f"none in {origin}", fix)
    return trainer


def count_steps(run: OpenRun, stage: StageConfig) -> int:
    """Return the updates of a stage, without building its networks."""
    feeds = Feeds(run.config, stage, run.splits, run.pipeline, run.runtime, seed=0)
    return stage.method.steps_per_epoch(feeds.passes) * stage.epochs


def build_untrained(run: OpenRun, stage: StageConfig, *, first_weights: bool) -> StageTrainer:
    """Build the method of a stage on the device with its first weights, refusing data that it cannot take."""
    task, prefix = run.splits.task(), [stage.name] if len(run.stages) > 1 else []
    stage.method.check_task(type(task))
    if stage.tuning.label_smoothing:
        try:
            task = task.with_smoothing(stage.tuning.label_smoothing)
        except OptionError as error:
            raise error.under(*prefix, "tuning") from error
    networks = Networks(
        run.config.backbone,
        task,
        seed=run.config.seed,
        given=run.pipeline.normalisation,
        first_weights=first_weights,
        kept=run.networks,
        columns=run.splits.columns(),
    )
    try:
        method = stage.method.build(networks)
    except OptionError as error:  # an option that does not fit the network or the data: say which, with its whole path
        raise error.under(*prefix, "method") from error
    run.networks.update(networks.loaded)
    pretexts = [head.pretext for head in method.pretext_heads().values()]
    pretexts += [module.pretext for module in method.modules() if isinstance(module, ImagePretextModule)]
    for pretext in pretexts:
        pretext.make_all(torch.zeros(1, *task.image_shape))
    run.runtime.prepare(method, networks=method.networks)
    try:
        return StageTrainer(
            config=run.config,
            stage=stage,
            method=method,
            splits=run.splits,
            pipeline=run.pipeline,
            runtime=run.runtime,
            checkpoints=run.checkpoints(stage),
            observer=run.observer,
            stop=run.stop,
        )
    except OptionError as error:
        raise error.under(*prefix, "tuning") from error
