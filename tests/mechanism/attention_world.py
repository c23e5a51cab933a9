"""A world in which the encoder to be believed differs from image to image.

Four given encoders of 16 features, four classes. Of the first two one, drawn for each item, shows the item's class, the
other a random class; a feature of each says which one it is. The third is the first with noise, the fourth noise alone.
"""

from types import MappingProxyType

import torch

from auxo.interfaces import AbstractBackbone, AbstractNetworks, TrainState
from auxo.methods.multi_pretext import MultiPretext
from auxo.optimizers import OptimizerConfig
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch, Features

NAMES = ("one", "other", "copy", "noise")
CLASSES, FEATURES = 4, 16
STEPS = 400
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
TASK = Classification(class_names=tuple("abcd"), channels=1, height=len(NAMES), width=FEATURES)
OPTIMIZER = OptimizerConfig(name="adamw", lr=3e-3, weight_decay=1e-2, schedule="constant")


class Row(AbstractBackbone):
    """One row of an image."""

    num_features = FEATURES
    map_channels = MappingProxyType({})

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, images):
        return Features(images[:, 0, self.number], {})


class Given(AbstractNetworks):
    """The four encoders."""

    def __init__(self, seed):
        self.backbone, self.task, self.seed = Row(0), TASK, seed

    def new(self, name, backbone=None):
        return Row(NAMES.index(name))

    def load(self, name, source, **options):
        raise AssertionError("the four encoders are there, and none is loaded")


class World:
    """Training and test items, and which of the first two encoders shows the class of each.

    Args:
        seed: of all.
        is_told: whether what shows a random class is left out: the oracle's view.
    """

    def __init__(self, seed, *, is_told=False, num_train=120, num_test=4000):
        draws = torch.Generator().manual_seed(seed)
        shown = torch.randn(2, CLASSES, FEATURES - 1, generator=draws)
        self.images, self.labels, self.informative = [], [], []
        for count in (num_train, num_test):
            labels = torch.randint(CLASSES, (count,), generator=draws)
            informative = torch.randint(2, (count,), generator=draws)
            images = torch.zeros(count, 1, len(NAMES), FEATURES)
            for number in (0, 1):
                believed = informative == number
                said = torch.where(believed, labels, torch.randint(CLASSES, (count,), generator=draws))
                flag = torch.where(believed, 1.5, -1.5) + 0.3 * torch.randn(count, generator=draws)
                rows = shown[number, said] + 0.9 * torch.randn(count, FEATURES - 1, generator=draws)
                images[:, 0, number] = torch.cat([flag[:, None], rows], 1)
            images[:, 0, 2] = images[:, 0, 0] + 0.9 * torch.randn(count, FEATURES, generator=draws)
            images[:, 0, 3] = 2 * torch.randn(count, FEATURES, generator=draws)
            if is_told:
                images[:, 0, :2][torch.arange(count), 1 - informative] = 0
                images[:, 0, 2][informative == 1] = 0
            self.images.append(images)
            self.labels.append(labels)
            self.informative.append(informative)


def train(fusion, seed, *, is_told=False, is_shuffled=False, is_broken=False):
    """A method after all steps on the whole training set, and its world.

    Args:
        fusion: options.
        seed: of the world and the first weights.
        is_told: see :class:`World`.
        is_shuffled: whether the labels are exchanged at random.
        is_broken: whether no gradient reaches what asks and what is asked for.
    """
    torch.set_num_threads(1)
    world = World(seed, is_told=is_told)
    config = MultiPretext.Config(fusion=fusion, trained=NAMES, optimizer=OPTIMIZER, features="online")
    method = config.build(Given(seed)).train()
    if is_broken:
        method.fusion.scores.requires_grad_(False)
    rows = world.images[0][:, 0].flatten(1)
    method.mean.copy_(rows.mean(0))
    method.scale.copy_(rows.std(0, correction=0))
    state = TrainState(method.optimizers(), num_steps=STEPS)
    labels = world.labels[0]
    if is_shuffled:
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    batch = Batch(world.images[0], {"label": labels}, torch.arange(len(labels)))
    for state.step in range(STEPS):
        method.update(state, {"train": batch}, RUNTIME)
    return method.eval(), world


@torch.no_grad()
def accuracy(method, world):
    """Accuracy on the test items in percent."""
    found = method.predict(world.images[1]).argmax(1)
    return 100 * (found == world.labels[1]).double().mean().item()


@torch.no_grad()
def attend(method, world):
    """The mean weight on the informative one of the first two encoders with its copy, and on noise."""
    weights = torch.stack([*method.image_values(world.images[1]).values()], 1)
    informative = weights[:, :2].gather(1, world.informative[1][:, None])[:, 0]
    informative = informative + torch.where(world.informative[1] == 0, weights[:, 2], 0)
    return informative.mean().item(), weights[:, 3].mean().item()
