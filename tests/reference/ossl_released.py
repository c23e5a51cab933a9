"""The released OSSL training step and its baselines in plain PyTorch, written from their description alone.

Nothing of auxo is imported, so that a mistake cannot be made twice. Every image is turned on its own, the network runs
forward once for each loss, and each of the two optimisers holds every parameter, as in the released script.

Names of the released flags: none is classification only, ``rot`` adds the rotation task, ``two_classifiers`` adds the
second step through the auxiliary classifier. OSSL is both.

Source: Boonlia et al., ICIP 2022 (https://arxiv.org/abs/2209.02881) and https://github.com/harshita-555/OSSL;
network: Huang et al., CVPR 2017 (https://arxiv.org/abs/1608.06993), 40 layers, growth 12, no bottleneck.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "BasicBlock",
    "DenseNet",
    "ReleasedTrainer",
    "StepLosses",
    "ThreeHeads",
    "Transition",
    "nesterov_numpy",
    "rotate_one_by_one",
]


class BasicBlock(nn.Module):
    """Batch norm, ReLU, 3x3 convolution to ``growth`` channels, appended to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.relu(self.norm(x)))], 1)


class Transition(nn.Module):
    """Batch norm, ReLU, 1x1 convolution to as many channels, average of 2x2 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(self.conv(self.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """DenseNet-40-12 for 32x32 images, without its heads; 456 features."""

    def __init__(self, *, in_channels: int = 3, growth: int = 12, blocks_per_stage: int = 12) -> None:
        super().__init__()
        channels = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)]
        for stage in range(3):
            if stage > 0:
                layers.append(Transition(channels))
            for _ in range(blocks_per_stage):
                layers.append(BasicBlock(channels, growth))
                channels += growth
        layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.num_features = channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(self.layers(x), 8).flatten(1)


class ThreeHeads(nn.Module):
    """Any network that gives one vector per image, with the semantic, auxiliary and rotation heads side by side."""

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc1 = nn.Linear(num_features, num_classes)
        self.fc2 = nn.Linear(num_features, num_classes)
        self.fc_ss = nn.Linear(num_features, 4)
        for head in (self.fc1, self.fc2, self.fc_ss):
            nn.init.zeros_(head.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.backbone(x)
        return self.fc1(features), self.fc2(features), self.fc_ss(features)


def rotate_one_by_one(images: Tensor) -> tuple[Tensor, Tensor]:
    """Turn every image by 0, then every image by 90, 180 and 270 degrees counter-clockwise, one image at a time."""
    rotated, labels = [], []
    for turns in range(4):
        for image in images:
            rotated.append(torch.rot90(image, turns, (1, 2)))
            labels.append(turns)
    return torch.stack(rotated), torch.tensor(labels, device=images.device)


class StepLosses(NamedTuple):
    """The losses of one iteration, ``None`` where the flags leave one out."""

    semantic: float
    rotation: float | None
    auxiliary: float | None


class ReleasedTrainer:
    """One iteration of the released script after another.

    Args:
        network: gives semantic, auxiliary and rotation logits.
        rot: the flag ``--rot``.
        two_classifiers: the flag ``--two_classifiers``.
        lr: learning rate of both optimisers.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        rot: bool,
        two_classifiers: bool,
        lr: float = 0.01,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
    ) -> None:
        self.network = network
        self.rot = rot
        self.two_classifiers = two_classifiers
        settings = {"lr": lr, "momentum": momentum, "nesterov": True, "weight_decay": weight_decay}
        self.optimizer_a = torch.optim.SGD(network.parameters(), **settings)
        self.optimizer_b = torch.optim.SGD(network.parameters(), **settings)

    def step(self, images: Tensor, labels: Tensor) -> StepLosses:
        """Run one iteration and return its losses, each at the parameters it was computed at."""
        self.network.train()
        loss_rotation = loss_auxiliary = None

        semantic, _, _ = self.network(images)
        loss_semantic = functional.cross_entropy(semantic, labels)
        loss_a = loss_semantic
        if self.rot:
            rotated, turns = rotate_one_by_one(images)
            _, _, rotation = self.network(rotated)
            loss_rotation = functional.cross_entropy(rotation, turns)
            loss_a = loss_a + loss_rotation
        self.optimizer_a.zero_grad(set_to_none=True)
        loss_a.backward()
        self.optimizer_a.step()

        if self.two_classifiers:
            loss_auxiliary, loss_b = self.auxiliary_losses(images, labels)
            self.optimizer_b.zero_grad(set_to_none=True)
            loss_b.backward()
            self.optimizer_b.step()

        return StepLosses(
            loss_semantic.item(),
            None if loss_rotation is None else loss_rotation.item(),
            None if loss_auxiliary is None else loss_auxiliary.item(),
        )

    def auxiliary_losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the auxiliary loss and the loss of step B, whose semantic term is detached."""
        semantic, auxiliary, _ = self.network(images)
        loss_auxiliary = functional.cross_entropy(auxiliary, labels)
        loss_semantic = functional.cross_entropy(semantic.detach(), labels)
        return loss_auxiliary, loss_auxiliary - loss_semantic + 1e-7


def nesterov_numpy(
    weights: np.ndarray, gradients: list[np.ndarray], *, lr: float, momentum: float, weight_decay: float
) -> tuple[np.ndarray, np.ndarray]:
    """Follow a list of gradients by SGD with Nesterov momentum and L2 decay; return the weights and the momentum."""
    velocity = None
    for gradient in gradients:
        decayed = gradient + weight_decay * weights
        velocity = decayed if velocity is None else momentum * velocity + decayed
        weights = weights - lr * (decayed + momentum * velocity)
    return weights, velocity
