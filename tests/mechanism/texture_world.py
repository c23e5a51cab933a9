"""A world in which colour tells the regions of one image apart, and texture alone tells what they are.

Scenes of 32 x 32 pixels with six Voronoi cells, each of one of five gratings. Contrast and tint are an image's own, and
every grating has a tint of its own in every image: pairs of pixels within an image are solved by colour, pairs across
images by texture alone. 120 images have no mask, 2 have one, 8 more are held out to judge labels, 60 to judge networks.
"""

import math
from types import MappingProxyType

import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, PlaceMap, TrainSplit, UnlabelledSplit, ValSplit
from auxo.data.two_views import retint_images
from auxo.evaluation import Reader
from auxo.interfaces import AbstractBackbone, StageStart, TrainState
from auxo.layers.convolutions import build_convolution
from auxo.layers.decoders import PixelNetwork
from auxo.layers.decoders.linear import Linear
from auxo.methods.segmenter import Segmenter
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.labellers import LabelTools
from auxo.pretexts.pixels import PixelSampling
from auxo.pretexts.pixels.contrast import Contrast
from auxo.random import Draws, named_generator
from auxo.runs.networks import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Segmentation
from auxo.types import Batch, Features

SIDE, CELLS = 32, 6
WAVES = torch.tensor([[1.6, 0.0], [0.0, 1.6], [1.1, 1.1], [1.1, -1.1], [0.6, 0.2]])
CLASSES = tuple(f"grating {number}" for number in range(len(WAVES)))
TASK = Segmentation(CLASSES, 3, SIDE, SIDE)
PRETRAINING, FINE_TUNING = 150, 240  # steps, of 8 and of 2 images
EQUAL_COMPUTE = FINE_TUNING + PRETRAINING * 8 // 2
RUNTIME = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
_ADAM = OptimizerConfig(name="adamw", lr=3e-3, weight_decay=0.0, schedule="cosine", moves="step")
CONTRAST = Contrast.Config(outputs=16, sampling=PixelSampling(max_samples=320))


class SmallNet(AbstractBackbone):
    """Two convolutions of 5 x 5 pixels, the second of stride 2, and one of 3 x 3."""

    num_features = 32
    map_channels = MappingProxyType({"half": 32})

    def __init__(self, *, channels, height, width):
        super().__init__()
        self.layers = nn.Sequential(
            build_convolution(channels, 24, size=5),
            build_convolution(24, 32, size=5, stride=2),
            build_convolution(32, 32),
        )

    def forward(self, images):
        maps = self.layers(images)
        return Features(maps.mean((2, 3)), {"half": maps})


def draw(count, draws):
    """Images, uint8, and the class of every pixel."""
    axis = torch.arange(SIDE, dtype=torch.float32)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    points, kinds = (
        SIDE * torch.rand(count, CELLS, 2, generator=draws),
        torch.randint(5, (count, CELLS), generator=draws),
    )
    nearest = (places - points[:, :, None, None]).square().sum(-1).argmin(1)
    masks = kinds.gather(1, nearest.flatten(1)).view_as(nearest)
    phases = 2 * math.pi * torch.rand(count, 5, 1, 1, generator=draws)
    grey = torch.sin(torch.einsum("hwd,cd->chw", places, WAVES) + phases).gather(1, masks.unsqueeze(1))
    gains = 0.5 + torch.rand(count, 1, 1, 1, generator=draws)
    tints = 0.3 * torch.randn(count, 3, 1, 1, generator=draws)
    class_tints = 0.5 * torch.randn(count, 3, 5, generator=draws)
    own = class_tints.gather(2, masks.flatten(1).unsqueeze(1).expand(-1, 3, -1)).view(count, 3, SIDE, SIDE)
    noise = 0.5 * torch.randn(count, 3, SIDE, SIDE, generator=draws)
    images = gains * grey + tints + own + noise
    return (127.5 + 255 / 7 * images).round().clamp(0, 255).to(torch.uint8), masks.to(torch.uint8)


def as_map(masks):
    return PlaceMap(masks, CLASSES, ignore=255)


class World:
    """The images of a seed, as a stage reads them.

    Attributes:
        readers: of the images, by split; those of ``val`` judge labels.
        pixels: of all images and of the labelled ones, in [0, 1].
        test: images as networks get them, and their masks.
    """

    def __init__(self, seed):
        self.seed, draws = seed, torch.Generator().manual_seed(seed)
        images, self.masks = draw(120, draws)
        labelled, self.labelled_masks = draw(2, draws)
        while torch.bincount(self.labelled_masks.flatten(), minlength=5).min() < 60:
            labelled, self.labelled_masks = draw(2, draws)
        held, self.held_masks = draw(8, draws)
        hidden = {"mask": PlaceMap(torch.full_like(self.masks, 255), ignore=255), "hidden_mask": as_map(self.masks)}
        splits = [
            UnlabelledSplit(InMemorySource("unlabelled", images, maps=hidden)),
            TrainSplit(InMemorySource("train", labelled, maps={"mask": as_map(self.labelled_masks)})),
            ValSplit(InMemorySource("held", held, maps={"mask": as_map(self.held_masks)})),
        ]
        self.pipeline = InputPipeline.from_source(splits[0].source)
        self.tools = LabelTools(len(CLASSES), SIDE, SIDE, self.build(1.0).backbone, None, self.build_network)
        reader = Reader(method=self.build(1.0), pipeline=self.pipeline, runtime=RUNTIME, batch_size=40)
        self.readers = {split.name: reader.images(split) for split in splits}
        self.start = StageStart(self.readers, seed, RUNTIME.device)
        self.pixels, self.labelled = images.float() / 255, labelled.float() / 255
        test, self.test_masks = draw(60, draws)
        self.test = self.pipeline.normalisation.to_inputs(test.float() / 255)

    def build(self, backbone_rate):
        """Return what is fine-tuned, with first weights."""
        config = Segmenter.Config(decoder=Linear.Config(), optimizer=_ADAM, backbone_rate=backbone_rate)
        return config.build(Networks(BackboneConfig(name=f"{__file__}:SmallNet"), TASK, seed=self.seed)).train()

    def build_network(self):
        """Return a network of pixels for a labeller to train."""
        method = self.build(1.0)
        return PixelNetwork(method.backbone, method.decoder, method.classifier)

    def label(self, config):
        """Return a labeller's labels of the images without masks, and of those held out."""
        labeller = config.fit(self.readers["unlabelled"], self.start, self.tools)
        return [self.readers[split].read(labeller.label) for split in ("unlabelled", "val")]

    def show(self, pixels, step, *, first=0):
        """Return images as a step gets them: each under another tint and contrast."""
        draws = Draws(named_generator(self.seed, "retint", first + step))
        images = retint_images(pixels, draws, mean=self.pipeline.mean, std=self.pipeline.std)
        return self.pipeline.normalisation.to_inputs(images)


def pretrain(world, labels, config=CONTRAST, *, sign=1):
    """Return a backbone that has learned by the labels of pixels; with the sign -1, to make its objective worse."""
    backbone = world.build(1.0).backbone
    objective = config.build(32, num_labels=int(labels.max()) + 1, seed=world.seed).train()
    optimizer = torch.optim.Adam([*backbone.parameters(), *objective.parameters()], 3e-3)
    order = named_generator(world.seed, "order")
    for step in range(PRETRAINING):
        chosen = torch.randperm(len(labels), generator=order)[:8]
        batch = Batch(world.show(world.pixels[chosen], step), {}, chosen)
        draws = Draws(named_generator(world.seed, "pixels", step))
        features = backbone(batch.images).maps["half"]
        loss = objective(features, labels[chosen], batch=batch, draws=draws, runtime=RUNTIME).loss
        RUNTIME.step(optimizer, sign * loss)
    return backbone


def fine_tune(world, backbone=None, *, steps=FINE_TUNING):
    """Return the mIoU in percent of a network fine-tuned on the labelled images.

    Args:
        world: the images.
        backbone: pretrained, which then learns at a tenth of the rate; none begins with first weights.
        steps: of fine-tuning.
    """
    method = world.build(1.0 if backbone is None else 0.1)
    if backbone is not None:
        method.backbone.load_state_dict(backbone.state_dict())
    state = TrainState(method.optimizers(), seed=world.seed, num_steps=steps)
    schedules = [
        method.config.schedule(name).build_schedule(each, num_epochs=1, steps_per_epoch=steps)
        for name, each in state.optimizers.items()
    ]
    targets, indices = {"mask": world.labelled_masks}, torch.arange(2)
    for state.step in range(steps):
        batch = Batch(world.show(world.labelled, state.step, first=PRETRAINING), targets, indices)
        method.update(state, {"train": batch}, RUNTIME)
        for schedule in schedules:
            schedule.step()
    return judge(method.eval(), world)


@torch.no_grad()
def judge(method, world):
    """Return the mean intersection over union of the classes in percent."""
    found, true = method.predict(world.test).argmax(1), world.test_masks
    parts = [((found == c) & (true == c)).sum() / ((found == c) | (true == c)).sum() for c in range(len(CLASSES))]
    return 100 * float(torch.stack(parts).mean())


def shuffle(labels, seed):
    """Return the labels of each image's pixels at other pixels of it."""
    orders = torch.rand(len(labels), SIDE * SIDE, generator=torch.Generator().manual_seed(seed)).argsort(1)
    return labels.flatten(1).gather(1, orders).view_as(labels)
