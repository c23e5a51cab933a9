"""Scenes of three textures under a tint and a contrast of each image's own, read as a stage reads them."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, PlaceMap, TrainSplit, UnlabelledSplit
from auxo.evaluation import Reader
from auxo.evaluation.images import FeatureCache
from auxo.interfaces import AbstractBackbone, AbstractImageReader, StageStart
from auxo.layers.decoders import PixelNetwork, measure_maps
from auxo.layers.decoders.linear import Linear
from auxo.layers.heads import pixel_head
from auxo.methods.supervised import Supervised
from auxo.pretexts.labellers import LabelTools
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification

SIDE, COUNT, CLASSES = 24, 16, 3
WAVES = ((1.6, 0.0), (0.0, 1.6), (0.4, 0.4))
RUNTIME = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))


def draw_scenes(count=COUNT, *, seed=0, side=SIDE):
    """Images of two or three vertical bands of texture, and the class of every pixel."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(side).float(), torch.arange(side).float(), indexing="ij")
    images, masks = torch.zeros(count, 3, side, side), torch.zeros(count, side, side, dtype=torch.uint8)
    for number in range(count):
        classes = torch.randperm(CLASSES, generator=generator)
        masks[number] = classes[(columns * CLASSES / side).long()]
        phases = 2 * math.pi * torch.rand(CLASSES, generator=generator)
        grey = torch.stack([torch.sin(a * rows + b * columns + p) for (a, b), p in zip(WAVES, phases, strict=True)])
        grey = grey.take_along_dim(masks[number : number + 1].long(), 0)
        gain, tint = 0.5 + torch.rand((), generator=generator), torch.randn(3, 1, 1, generator=generator)
        images[number] = gain * grey + 0.5 * tint + 0.1 * torch.randn(3, side, side, generator=generator)
    return (128 + 40 * images).clamp(0, 255).to(torch.uint8), masks


def build_segmenter():
    """A network of pixels on maps of half the resolution."""
    task = Classification(tuple(map(str, range(CLASSES))), 3, SIDE, SIDE)
    backbone = BackboneConfig(name="conv4").build(task, seed=3)
    first, shape = next(iter(measure_maps(backbone, task.image_shape).items()))
    decoder = Linear.Config(map=first).build({first: shape}, seed=3)
    return PixelNetwork(backbone, decoder, pixel_head("classifier", decoder.num_features, CLASSES, seed=3))


@dataclass(frozen=True)
class Stage:
    """What a labeller is given: readers, the start of the stage, and the tools of a method."""

    method: Supervised
    source: InMemorySource
    start: StageStart
    tools: LabelTools

    @property
    def images(self) -> AbstractImageReader:
        return self.start.images["unlabelled"]

    def make(self, config: Any) -> torch.Tensor:
        return config.make(self.images, self.start, self.tools)


def build_stage(*, num_labelled=4, batch_size=16, seed=0, cache=None, keep_hidden=True, masks=None, shift=0):
    """A stage on scenes of which some have masks."""
    images, drawn = draw_scenes(seed=1)
    masks = drawn if masks is None else masks
    images = images + shift
    names = tuple(f"texture {number}" for number in range(CLASSES))
    train = InMemorySource(
        "train", images[:num_labelled], maps={"mask": PlaceMap(masks[:num_labelled], names, ignore=255)}
    )
    hidden = PlaceMap(torch.full_like(masks, 255), ignore=255)
    kept = {"hidden_mask": PlaceMap(masks, names, ignore=255)} if keep_hidden else {}
    source = InMemorySource("unlabelled", images, maps={"mask": hidden, **kept})
    networks = Networks(BackboneConfig(name="resnet8"), Classification(names, 3, SIDE, SIDE), seed=0)
    method = Supervised.Config().build(networks).train()
    pipeline = InputPipeline.from_source(source)
    reader = Reader(method=method, pipeline=pipeline, runtime=RUNTIME, batch_size=batch_size)
    store = None if cache is None else FeatureCache(cache, RUNTIME)
    splits = (TrainSplit(train), UnlabelledSplit(source))
    readers = {split.name: reader.images(split, cache=store) for split in splits}

    def load(name: str) -> AbstractBackbone:
        return BackboneConfig(name="resnet8").build(networks.task, seed=len(name)).eval()

    tools = LabelTools(CLASSES, SIDE, SIDE, method.backbone, load, build_segmenter)
    return Stage(method, source, StageStart(readers, seed, RUNTIME.device), tools)


@pytest.fixture(scope="session")
def make_stage():
    return build_stage


@pytest.fixture(scope="session")
def stage():
    return build_stage()


@pytest.fixture(scope="session")
def masks():
    return draw_scenes(seed=1)[1]


@pytest.fixture(scope="session")
def purity():
    """Share of labelled pixels whose class is the most frequent one of their label."""

    def measure(labels, masks):
        known = labels >= 0
        table = torch.zeros(int(labels.max()) + 1, CLASSES)
        table.index_put_((labels[known].long(), masks[known].long()), torch.ones(int(known.sum())), accumulate=True)
        return float(table.amax(1).sum() / table.sum())

    return measure
