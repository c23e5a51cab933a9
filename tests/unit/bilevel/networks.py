"""Small smooth networks as two-level problems, in float64."""

import torch
import torch.nn.functional as F
from torch import nn

from auxo.bilevel import BilevelProblem, FunctionalModule, WeightedLoss


class ConvNet(nn.Module):
    """A convolution, batch norm with running statistics, dropout if asked for, and a head; 57 parameters."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3, 3)

    def forward(self, images):
        features = F.softplus(self.norm(self.conv(images)))
        return self.head(self.dropout(features.mean((2, 3))))


class Transformer(nn.Module):
    """One encoder block with torch's own attention, and a head."""

    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, activation="gelu", batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.block(images.flatten(1).unflatten(1, (4, 4))).mean(1))


class Tied(nn.Module):
    """Two layers that share one weight, and a layer that nobody calls."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16)
        self.second.weight = self.first.weight
        self.unused = nn.Linear(16, 2)
        self.head = nn.Linear(16, 3)

    def forward(self, images):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(images.flatten(1))))))


NETWORKS = {"conv": ConvNet, "transformer": Transformer, "tied": Tied}


def images_and_labels(count, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 1, 4, 4, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.randint(3, (count,), generator=generator)


class Case:
    """A network whose samples are weighted and whose parameters are kept near their start.

    Hyper-parameters: a logit for each of 6 samples, and the log strength of the pull.
    """

    def __init__(self, name, dtype=torch.float64, **options):
        torch.manual_seed(0)
        self.net = FunctionalModule(NETWORKS[name](**options).to(dtype).train())
        self.params = {key: value.clone() for key, value in self.net.params.items()}
        self.buffers = self.net.buffers
        self.hyper = {"logits": torch.linspace(-1, 1, 6, dtype=dtype), "log_pull": torch.tensor(0.5, dtype=dtype)}
        self.inner = [images_and_labels(6, 1, dtype)]
        self.outer = images_and_labels(5, 2, dtype)
        self.anchor = {key: value.clone() for key, value in self.params.items()}
        self.problem = BilevelProblem(inner_loss=self.inner_loss, outer_loss=self.outer_loss)

    def inner_loss(self, params, hyper, buffers, batch):
        images, labels = batch
        logits, buffers = self.net(params, buffers, images)
        losses = F.cross_entropy(logits, labels, reduction="none")
        pull = sum((params[name] - self.anchor[name]).square().sum() for name in params)
        return (hyper["logits"].sigmoid() * losses).mean() + hyper["log_pull"].exp() / 2 * pull, buffers

    def outer_loss(self, params, hyper, buffers, batch):
        images, labels = batch
        logits, buffers = self.net(params, buffers, images)
        return F.cross_entropy(logits, labels), buffers

    def weighted(self):
        """The same problem without the learnt pull, as a loss of class WeightedLoss."""

        def losses(params, buffers, batch):
            logits, buffers = self.net(params, buffers, batch[0])
            return F.cross_entropy(logits, batch[1], reduction="none"), buffers

        loss = WeightedLoss(
            losses=losses,
            weights=lambda hyper, batch: hyper["logits"].sigmoid(),
            rest=lambda params, buffers, batch: sum(value.square().sum() for value in params.values()) / 10,
        )
        return BilevelProblem(inner_loss=loss, outer_loss=self.outer_loss, frozen=frozenset({"log_pull"}))

    def arguments(self):
        return {"inner": self.inner, "outer": self.outer, "buffers": self.buffers}


def directional(grads, direction):
    """The derivative along a direction that gradients give."""
    return sum((grads[name] * direction[name]).sum() for name in direction)


def central_difference(function, hyper, direction, step):
    """The derivative of a function of the hyper-parameters along a direction, by two evaluations."""
    there, back = (
        function({name: value + sign * step * direction[name] for name, value in hyper.items()}) for sign in (1, -1)
    )
    return (there - back) / (2 * step)
