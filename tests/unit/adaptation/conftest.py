"""A small network with batch norm, its reader, and images to adapt it to."""

import pytest
import torch
from torch import nn

from auxo.adaptation import Setting, UnlabelledImages
from auxo.data import InMemorySource, InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.evaluation import Reader
from auxo.interfaces import AbstractMethod, MethodConfig, PretextHead
from auxo.pretexts.rotation import Rotation
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification

SIDE = 12
SHAPES = oriented_shapes(48, size=SIDE, seed=0)
NAMES = SHAPES.vocabulary["label"]


class Small(AbstractMethod):
    """Two convolutions with batch norm, a linear head, and a head that tells quarter turns."""

    def __init__(self, *, norm=nn.BatchNorm2d, has_turns=True, counts=(12, 12, 12, 12)):
        nn.Module.__init__(self)
        torch.manual_seed(0)
        self.config = MethodConfig()
        self.task = Classification(NAMES, channels=3, height=SIDE, width=SIDE, class_counts=counts)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 6, 3), norm(6), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), norm(8), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.semantic, self.turns = nn.Linear(8, len(NAMES)), nn.Linear(8, 4)
        self.has_turns = has_turns
        for place, buffer in self.named_buffers():  # statistics of a source that is none of the images here
            if place.endswith("mean"):
                buffer.uniform_(-0.5, 0.5)
            elif place.endswith("var"):
                buffer.uniform_(0.5, 1.5)

    @property
    def predicting_backbone(self):
        """Plain layers, which need no maps here."""
        return self.backbone

    def optimizers(self):
        return {}

    def update(self, state, batches, runtime):
        return {}

    def head_logits(self, images):
        return {"semantic": self.semantic(self.backbone(images))}

    def pretext_heads(self):
        turns = {"rotation": PretextHead(Rotation(), lambda images: self.turns(self.backbone(images)))}
        return turns if self.has_turns else {}


@pytest.fixture(scope="module")
def runtime():
    with open_runtime(RuntimeConfig(device="cpu", threads=1, channels_last=False)) as opened:
        yield opened


@pytest.fixture
def make_setting(runtime):
    """Return a setting of a network and a source."""

    def make(method=None, source=SHAPES, source_split=None):
        method = Small() if method is None else method
        pipeline = InputPipeline(torch.full((3,), 0.4), torch.full((3,), 0.3), image_shape=(3, SIDE, SIDE))
        reader = Reader(method=method.eval(), pipeline=pipeline, runtime=runtime, batch_size=16)
        shares = tuple(map(float, method.task.train_counts))
        return Setting(reader=reader, target=UnlabelledImages(source), shares=shares, source=source_split)

    return make


@pytest.fixture
def inputs_of():
    """Return the network inputs of a source, all at once."""
    return lambda setting, source: setting.reader.inputs(source.fetch(torch.arange(len(source))))


@pytest.fixture
def permuted():
    """The same images in another order, with other labels."""
    order = torch.randperm(len(SHAPES), generator=torch.Generator().manual_seed(3))
    labels = {"label": torch.randint(len(NAMES), (len(SHAPES),), generator=torch.Generator().manual_seed(4)).numpy()}
    return InMemorySource.from_arrays("new", SHAPES.images[order].numpy(), labels, {"label": list(NAMES)})
