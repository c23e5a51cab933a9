"""How far away is every pixel? A task, its data and a method in one file: auxo train examples/my_task.py:recipe."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from auxo.data import DataConfig, InMemorySource, PlaceMap
from auxo.interfaces import AbstractMethod, AbstractNetworks, MethodConfig, TrainState
from auxo.runs import ExperimentConfig, StageConfig
from auxo.runtime import Runtime
from auxo.tasks import AbstractTask, Answer, Measure, Measured, Scores, Source, Target, TaskConfig, bootstrap_interval
from auxo.types import Batches, Column, Images, Metrics

UNKNOWN = -1  # the depth of a pixel of which nothing is known, or that an augmentation brought in from outside


@dataclass(frozen=True)
class Depth(AbstractTask):
    """A distance in metres for every pixel, in the map ``depth``."""

    channels: int
    height: int
    width: int
    primary: ClassVar[str] = "error"
    targets = (Target("depth", has_places=True, ignore=UNKNOWN),)
    num_outputs, chance = 1, None

    @classmethod
    def from_source(cls, source: Source) -> "Depth":
        return cls(*source.image_shape)

    def losses(self, outputs: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return (outputs[:, 0] - targets["depth"]).abs() * (targets["depth"] != UNKNOWN)

    def score(self, outputs: torch.Tensor, targets: dict[str, torch.Tensor]) -> Scores:
        known = (targets["depth"] != UNKNOWN).flatten(1).sum(1)
        return {"error": self.losses(outputs.detach(), targets).flatten(1).sum(1) / known}

    def measure(self, scores: Scores, columns: dict[str, Column]) -> Measured:
        errors = scores["error"]
        ends = bootstrap_interval(lambda drawn: float(errors[drawn].mean()), len(errors))
        return Measured({"error": Measure(float(errors.mean()), *ends, unit="m", higher_is_better=False)}, {})

    def answer_columns(self) -> tuple[str, ...]:
        return ("mean depth, m",)

    def answers(self, outputs: torch.Tensor) -> list[Answer]:
        drawn = (outputs[:, 0].clamp(0, 10) * 25.5).to(torch.uint8).cpu().numpy()  # white is ten metres away
        return [Answer((f"{float(each.mean()) / 25.5:.2f}",), each) for each in drawn]


def make_scenes(name: str, count: int, *, seed: int) -> InMemorySource:
    """Return hills in fog: what is far away is pale."""
    generator = torch.Generator().manual_seed(seed)
    hills = torch.rand(count, 1, 4, 4, generator=generator)
    depth = 10 * functional.interpolate(hills, size=(32, 32), mode="bilinear")
    grain = torch.randint(0, 40, (count, 3, 32, 32), generator=generator)
    return InMemorySource(name, (20 * depth + grain).to(torch.uint8), maps={"depth": PlaceMap(depth[:, 0])})


def scenes(config: DataConfig) -> InMemorySource:
    """Return what is learned from; auxo cuts val and test from it."""
    return make_scenes("hills", 1000, seed=0)


def elsewhere(config: DataConfig) -> InMemorySource:
    """Return what it is also judged on."""
    return make_scenes("other-hills", 100, seed=1)


class DepthMap(AbstractMethod):
    """One layer on the finest map of the backbone."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """The optimiser alone."""

        serves = (Depth,)

    head_names = ("depth",)

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.finest, channels = next(iter(self.backbone.map_channels.items()))
        self.layer = nn.Conv2d(channels, 1, 1)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"main": self.config.optimizer.build(self.parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        batch = batches["train"]
        with runtime.autocast():
            outputs = self.head_logits(batch.images)["depth"]
        loss = batch.mean(self.task.losses(outputs, batch.targets).flatten(1).mean(1))
        runtime.step(state.optimizers["main"], loss)
        return {"depth_loss": loss.detach()}

    def head_logits(self, images: Images) -> dict[str, torch.Tensor]:
        outputs = self.layer(self.backbone(images).maps[self.finest])
        return {"depth": functional.interpolate(outputs, size=images.shape[-2:], mode="bilinear")}


def recipe() -> ExperimentConfig:
    """Return the run: this file's task, method and data."""
    data = DataConfig(train=f"{__file__}:scenes", ood=(f"{__file__}:elsewhere",))
    return ExperimentConfig(
        stages=(StageConfig(method=DepthMap.Config()),), task=TaskConfig(name=f"{__file__}:Depth"), data=data
    )
