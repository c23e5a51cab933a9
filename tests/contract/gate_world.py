"""A small method for gates: two shared weights, a head for each task, and all that a step may say."""

from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from auxo.gates import GateStep, TaskLosses
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

NUM_OUTPUTS, NUM_CLASSES = (2, 16, 6), 4
COUNT, NUM_INPUTS, NUM_FEATURES = 10, 5, 7
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


class World:
    """Inputs with an answer for each task, among them the classes, and the weights that answer.

    Args:
        dtype: of the features.
    """

    def __init__(self, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        self.dtype = dtype
        counts = (*NUM_OUTPUTS, NUM_CLASSES)
        self.inputs = torch.randn(2 * COUNT, NUM_INPUTS, generator=generator)
        self.answers = [torch.randint(count, (2 * COUNT,), generator=generator) for count in counts]
        self.shared = {
            "first": nn.Parameter(torch.eye(NUM_INPUTS)),
            "last": nn.Parameter(torch.randn(NUM_INPUTS, NUM_FEATURES, generator=generator)),
        }
        self.heads = {
            f"head{count}": nn.Parameter(torch.randn(NUM_FEATURES, count, generator=generator)) for count in counts
        }
        self.train, self.own = (self.make_batch(torch.arange(start, start + COUNT)) for start in (0, COUNT))

    def show(self, view):
        """Let a gate's own batch be of the images that its view asks for."""
        start = COUNT if view.split == "train" else COUNT - 2
        self.own = self.make_batch(torch.arange(start, start + round(COUNT * min(view.ratio, 1))))

    def make_batch(self, indices):
        return Batch(torch.zeros(len(indices), 3, 2, 2), {}, indices)

    def answer(self, batch, weights=None):
        """The features, the losses of the tasks, and those of the classes."""
        weights = {**self.shared, **self.heads, **(weights or {})}
        features = (self.inputs[batch.indices] @ weights["first"] @ weights["last"]).to(self.dtype)
        *columns, primary = (
            cross_entropy((features @ weights[name].to(self.dtype)).float(), answers[batch.indices], reduction="none")
            for name, answers in zip(self.heads, self.answers, strict=True)
        )
        return SimpleNamespace(features=features, losses=torch.stack(columns, 1), primary=primary)

    def losses_at(self, weights, batch):
        found = self.answer(batch, weights)
        return TaskLosses(found.losses, found.primary)

    def step(self, class_losses, **options):
        """What a gate may know of a step on the training batch, with the losses of the classes."""
        return GateStep(
            self.train,
            RUNTIME,
            primary_loss=self.train.mean(class_losses),
            shared=self.shared,
            heads=self.heads,
            train=self.train,
            own=self.own,
            losses_at=self.losses_at,
            **options,
        )
