"""A task outside auxo: which of three shapes every pixel belongs to. Task, data and method in one file."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig, InMemorySource, PlaceMap
from auxo.errors import DataError
from auxo.interfaces import AbstractMethod, MethodConfig
from auxo.optimizers import OptimizerConfig
from auxo.random import named_generator
from auxo.runs import ExperimentConfig, StageConfig
from auxo.tasks import AbstractTask, Answer, Measure, Measured, Part, Target, TaskConfig, bootstrap_interval
from auxo.types import Column

NAMES = ("ground", "square", "stripe")
SIDE = 16
IGNORE = 255


@dataclass(frozen=True)
class PixelClasses(AbstractTask):
    """The class of every pixel; measured by the mean intersection over union."""

    names: tuple[str, ...]
    channels: int
    height: int
    width: int

    primary: ClassVar[str] = "mIoU"

    @classmethod
    def from_source(cls, source):
        names = source.vocabulary.get("mask", ())
        if not names:
            raise DataError("images with masks", f"'{source.name}' without", "give masks")
        return cls(names, *source.image_shape)

    @property
    def targets(self):
        return (Target("mask", self.names, has_places=True, ignore=IGNORE),)

    @property
    def num_outputs(self):
        return len(self.names)

    @property
    def chance(self):
        return None

    def losses(self, outputs, targets):
        return functional.cross_entropy(outputs, targets["mask"], ignore_index=IGNORE, reduction="none")

    def score(self, outputs, targets):
        mask = targets["mask"]
        is_counted = mask != IGNORE
        given = outputs.argmax(1)
        classes = torch.arange(len(self.names), device=mask.device).view(1, -1, 1, 1)
        is_given = (given.unsqueeze(1) == classes) & is_counted.unsqueeze(1)
        is_right = mask.unsqueeze(1) == classes
        both, either = (is_given & is_right).flatten(2).sum(2), (is_given | is_right).flatten(2).sum(2)
        hits = ((given == mask) & is_counted).flatten(1).sum(1)
        return {"both": both, "either": either, "hits": hits, "pixels": is_counted.flatten(1).sum(1)}

    def measure(self, scores, columns):
        def mean_iou(images):
            both, either = scores["both"][images].sum(0), scores["either"][images].sum(0)
            return float((both[either > 0] / either[either > 0]).mean())

        count = len(scores["hits"])
        everything = torch.arange(count)
        interval = bootstrap_interval(mean_iou, count, resamples=200)
        accuracy = float(scores["hits"].sum() / scores["pixels"].sum())
        ious = (scores["both"].sum(0) / scores["either"].sum(0).clamp(min=1)).tolist()
        parts = {"class": {name: Part(count, iou) for name, iou in zip(self.names, ious, strict=True)}}
        for name, column in columns.items():
            groups = {}
            for number, group in enumerate(column.names):
                members = everything[column.values == number]
                groups[group] = Part(len(members), mean_iou(members) if len(members) else None)
            parts[name] = groups
        return Measured({"mIoU": Measure(mean_iou(everything), *interval), "pixel_accuracy": Measure(accuracy)}, parts)

    def answer_columns(self):
        return tuple(f"share({name})" for name in self.names)

    def answers(self, outputs):
        answers = []
        for given in outputs.argmax(1).cpu():
            shares = given.flatten().bincount(minlength=len(self.names)).double() / given.numel()
            image = (given * (255 // len(self.names))).to(torch.uint8).numpy()
            answers.append(Answer(tuple(f"{share:.4f}" for share in shares.tolist()), image))
        return answers


def make_source(name, count, *, seed, offset=0):
    """Grey noise with a bright square and a darker stripe, and what every pixel is of."""
    generator = named_generator(seed, "pixels", name)
    images = torch.randint(90, 120, (count, 3, SIDE, SIDE), generator=generator)
    masks = torch.zeros(count, SIDE, SIDE, dtype=torch.int64)
    places = torch.randint(1, SIDE - 7, (count, 3), generator=generator)
    for image, mask, (row, column, stripe) in zip(images, masks, places.tolist(), strict=True):
        image[:, :, stripe : stripe + 2] -= 60
        mask[:, stripe : stripe + 2] = 2
        image[:, row : row + 6, column : column + 6] += 110 + offset
        image[:, row : row + 6, column : column + 6].clamp_(min=200)
        mask[row : row + 6, column : column + 6] = 1
    masks[:, 0, 0] = IGNORE
    side = Column((places[:, 1] > SIDE // 3).long(), ("left", "right"))
    pixels = images.clamp(0, 255).to(torch.uint8)
    return InMemorySource(name, pixels, columns={"side": side}, maps={"mask": PlaceMap(masks, NAMES, IGNORE)})


def train(config):
    """Return the training images; validation and test are cut from them."""
    return make_source("pixels", 120, seed=0)


def halved(config):
    """Return training images that also say of every pixel, but for a frame, on which side of the square it is."""
    source = make_source("halved", 120, seed=0)
    middle = (source.maps["mask"].values == 1).any(1).float().argmax(1) + 3
    halves = (torch.arange(SIDE) >= middle[:, None])[:, None].expand(-1, SIDE, -1).long().clone()
    halves[:, 0] = -1
    maps = {**source.maps, "half": PlaceMap(halves, ("left", "right"))}
    return InMemorySource(source.name, source.images, source.columns, maps=maps)


def elsewhere(config):
    """Return brighter images."""
    return make_source("brighter", 24, seed=1, offset=10)


class PixelClassifier(AbstractMethod):
    """A linear layer on every place of the finest map, enlarged to the image."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options."""

        serves = (PixelClasses,)

        map_name: str = "fine"
        """Which map of the backbone."""

    head_names = ("pixels",)

    def __init__(self, config, networks):
        super().__init__(config, networks)
        generator = named_generator(networks.seed, "init/pixels")
        self.head = nn.Conv2d(self.backbone.map_channels[config.map_name], self.task.num_outputs, 1)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.weight.copy_(0.1 * torch.randn(self.head.weight.shape, generator=generator))

    def optimizers(self):
        return {"main": self.config.optimizer.build(self.parameters())}

    def update(self, state, batches, runtime):
        batch = batches["train"]
        with runtime.autocast():
            outputs = self.head_logits(batch.images)["pixels"]
        pixel_loss = batch.mean(self.task.losses(outputs, batch.targets).flatten(1).mean(1))
        runtime.step(state.optimizers["main"], pixel_loss)
        return {"pixel_loss": pixel_loss.detach()}

    def head_logits(self, images):
        maps = self.backbone(images).maps[self.config.map_name]
        outputs = self.head(maps)
        return {"pixels": functional.interpolate(outputs, size=images.shape[-2:], mode="nearest")}


def recipe():
    """Return a run of half a second."""
    place = __file__
    return ExperimentConfig(
        task=TaskConfig(name=f"{place}:PixelClasses"),
        data=DataConfig(train=f"{place}:train", ood=(f"{place}:elsewhere",), augment="crop_flip"),
        backbone=BackboneConfig(name=f"{place.replace('pixels.py', 'net.py')}:TinyNet"),
        stages=(
            StageConfig(
                method=PixelClassifier.Config(optimizer=OptimizerConfig(name="adamw", lr=0.02)),
                epochs=4,
                batch_size=16,
            ),
        ),
    )
