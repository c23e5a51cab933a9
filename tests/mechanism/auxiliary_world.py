"""A world with a helpful, an easy and a random task beside the classes, of which few items have labels.

Classes and the helpful task are directions of one hidden vector; the easy task is the sign of another, louder one.
"""

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from auxo.gates import GateStep, TaskLosses
from auxo.random import global_seed
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
TASKS = ("helpful", "easy", "random")
COUNTS = {"class": 5, "helpful": 6, "easy": 2, "random": 6}
NUM_LABELLED, NUM_META, NUM_MORE, NUM_TEST = 120, 40, 2000, 4000
STEPS, NUM_SHOWN, RATE = 600, 200, 0.01


class World:
    """Labelled items first, then those with auxiliary answers alone, then those that test."""

    def __init__(self, seed):
        draws = torch.Generator().manual_seed(seed)

        def normal(*shape):
            return torch.randn(*shape, generator=draws)

        total = NUM_LABELLED + NUM_MORE + NUM_TEST
        hidden, loud = normal(total, 4), 3 * normal(total, 8)
        rotation = torch.linalg.qr(normal(40, 40)).Q
        inputs = torch.cat([hidden, loud, normal(total, 28)], 1) @ rotation
        self.inputs = (inputs - inputs.mean(0)) / inputs.std(0)
        bent = 1.5 * torch.tanh(hidden)
        self.answers = {
            "class": (bent @ normal(4, 5)).argmax(1),
            "helpful": (bent @ normal(4, 6)).argmax(1),
            "easy": (loud.sum(1) > 0).long(),
            "random": torch.randint(6, (total,), generator=draws),
        }


class Net(nn.Module):
    """40 to 4 with tanh, and a linear head for the classes and each task; the losses of every item."""

    def __init__(self, seed):
        super().__init__()
        with global_seed(seed):
            self.trunk = nn.Linear(40, 4)
            self.heads = nn.ModuleDict({name: nn.Linear(4, count) for name, count in COUNTS.items()})

    def forward(self, inputs):
        features = torch.tanh(self.trunk(inputs))
        return features, {name: head(features) for name, head in self.heads.items()}


class Training:
    """Trains a net on the class loss plus what a gate, or given weights, make of the tasks' losses.

    Args:
        seed: of world, net and order.
        num_held_out: labelled items that are kept for the gate's own batch.
    """

    def __init__(self, seed, *, num_held_out=0):
        self.world, self.net = World(seed), Net(seed)
        self.draws = torch.Generator().manual_seed(seed + 1000)
        self.labelled = torch.arange(NUM_LABELLED - num_held_out)
        self.own = self.make_batch(torch.arange(NUM_LABELLED - num_held_out, NUM_LABELLED)) if num_held_out else None
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS)

    def make_batch(self, indices):
        return Batch(torch.zeros(len(indices), 1, 1, 1), {}, indices)

    def answer(self, batch, weights=None):
        """The features and the losses; the class loss of an item without a label is 0."""
        indices = batch.indices
        features, outputs = functional_call(self.net, weights or {}, (self.world.inputs[indices],))
        found = {
            name: cross_entropy(outputs[name], self.world.answers[name][indices], reduction="none") for name in COUNTS
        }
        has_label = (indices < NUM_LABELLED).float()
        primary = found["class"] * has_label * (len(indices) / has_label.sum())
        return features, TaskLosses(torch.stack([found[name] for name in TASKS], 1), primary)

    def run(self, combine):
        """Train, and return what ``combine`` told of each step."""
        told = []
        for number in range(STEPS):
            more = NUM_LABELLED + torch.randperm(NUM_MORE, generator=self.draws)[:NUM_SHOWN]
            batch = self.make_batch(torch.cat([self.labelled, more]))
            features, losses = self.answer(batch)
            loss, weights = combine(features, losses, self.make_step(batch, losses, number))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            told.append(weights)
        return torch.stack(told)

    def make_step(self, batch, losses, number):
        named = dict(self.net.named_parameters())
        return GateStep(
            batch,
            RUNTIME,
            progress=number / STEPS,
            number=number,
            primary_loss=losses.primary.mean(),
            shared={name: value for name, value in named.items() if name.startswith("trunk.")},
            heads={name: value for name, value in named.items() if not name.startswith("trunk.")},
            train=batch,
            own=self.own,
            losses_at=lambda weights, shown: self.answer(shown, weights)[1],
        )

    @torch.no_grad()
    def accuracy(self):
        """The percentage of test items that are right."""
        _, outputs = self.net(self.world.inputs[-NUM_TEST:])
        return 100 * (outputs["class"].argmax(1) == self.world.answers["class"][-NUM_TEST:]).double().mean().item()


def learn_weights(seed, gate):
    """The mean weights of the tasks over the last tenth of the steps; a part of the labels is held out for the gate."""
    training = Training(seed, num_held_out=NUM_META)

    def combine(features, losses, step):
        result = gate(losses.weighed, features, step)
        return step.primary_loss + result.loss, result.weights

    return training.run(combine)[-STEPS // 10 :].mean(0)


def train_anew(seed, weights):
    """The accuracy of a net that is trained with given weights on all labels."""
    training = Training(seed)

    def combine(_features, losses, step):
        return step.primary_loss + (losses.weighed.mean(0) * weights).sum(), weights

    training.run(combine)
    return training.accuracy()
