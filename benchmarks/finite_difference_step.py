"""The error of :class:`auxo.bilevel.FiniteDifference` over the length of its displacement, on networks with kinks.

    python benchmarks/finite_difference_step.py                 a table, and the curve as a picture with --picture FILE

Every network has ReLU and batch norm in training mode. The reference is the exact derivative of the same step in
float64 (:class:`auxo.bilevel.Unrolled`). Hyper-parameters are one weight for every image, as where a method learns
which images or labels to trust. Told are the medians and the worst of the seeds.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional

from auxo.backbones import BackboneConfig
from auxo.bilevel import SGD, BilevelProblem, FiniteDifference, FunctionalModule, Unrolled, hypergradient
from auxo.random import global_seed
from auxo.tasks import Classification

EPSILONS = [10.0**-power for power in (1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8)]
SIDE, CLASSES, IMAGES = 32, 10, 32


class SmallVGG(nn.Sequential):
    """Four convolutions with batch norm, ReLU and pooling, and a head."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for before, after in zip((3, 16, 32, 64), (16, 32, 64, 64), strict=True):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(64 * 4, CLASSES))


class Classifier(nn.Module):
    """A backbone of auxo and a head."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__()
        names = tuple(map(str, range(CLASSES)))
        task = Classification(names, 3, SIDE, SIDE, class_counts=(1,) * CLASSES)
        self.backbone = BackboneConfig(name=name).build(task, seed=seed)
        self.head = nn.Linear(self.backbone.num_features, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        return self.head(self.backbone(images).pooled)


def make_network(name: str, seed: int) -> nn.Module:
    """Return a network with random first weights, trained for a few steps so that it is no special point."""
    with global_seed(seed):
        network = (SmallVGG() if name == "vgg" else Classifier(name, seed)).double().train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
        for _ in range(10):
            images, labels = make_batch(seed, "train")
            loss = functional.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def make_batch(seed: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random images with a class each that shows in them."""
    generator = torch.Generator().manual_seed(2 * seed + (kind == "train"))
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator)
    patterns = torch.randn(CLASSES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return patterns[labels] + torch.randn(IMAGES, 3, SIDE, SIDE, generator=generator, dtype=torch.float64), labels


def differentiate(network: nn.Module, seed: int, solver: object, dtype: torch.dtype) -> torch.Tensor:
    """Return the hypergradient in the weights of the images, in float64."""
    net = FunctionalModule(network.to(dtype))

    def lose(params, buffers, batch):
        outputs, buffers = net(params, buffers, batch[0])
        return functional.cross_entropy(outputs, batch[1], reduction="none"), buffers

    def inner(params, hyper, buffers, batch):
        losses, buffers = lose(params, buffers, batch)
        return (losses * hyper["weights"]).mean(), buffers

    def outer(params, _hyper, buffers, batch):
        losses, buffers = lose(params, buffers, batch)
        return losses.mean(), buffers

    train, val = ((images.to(dtype), labels) for images, labels in (make_batch(seed, "train"), make_batch(seed, "val")))
    hyper = {"weights": torch.ones(IMAGES, dtype=dtype)}
    problem = BilevelProblem(inner_loss=inner, outer_loss=outer)
    result = hypergradient(problem, net.params, hyper, inner=[train], outer=val, solver=solver, buffers=net.buffers)
    return result.grads["weights"].double()


def measure_errors(name: str, seeds: int) -> Iterator[tuple[str, float, list[float]]]:
    """Yield precision, displacement and the relative errors of the seeds."""
    exact = [
        differentiate(make_network(name, seed), seed, Unrolled(optimizer=SGD(rate=0.05)), torch.float64)
        for seed in range(seeds)
    ]
    for dtype in (torch.float32, torch.float64):
        for epsilon in EPSILONS:
            errors = []
            for seed in range(seeds):
                solver = FiniteDifference(rate=0.05, epsilon=epsilon)
                found = differentiate(make_network(name, seed), seed, solver, dtype)
                errors.append(float((found - exact[seed]).norm() / exact[seed].norm()))
            yield str(dtype).removeprefix("torch."), epsilon, errors


def draw_curves(rows: list[tuple[str, str, float, list[float]]], path: Path) -> None:
    """Draw the median error over the displacement, a line for each network and precision."""
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for number, name in enumerate(dict.fromkeys(row[0] for row in rows)):
        for dtype, style in (("float32", "-"), ("float64", "--")):
            chosen = [row for row in rows if row[0] == name and row[1] == dtype]
            medians = [statistics.median(row[3]) for row in chosen]
            axes.plot([row[2] for row in chosen], medians, style, color=f"C{number}", label=f"{name}, {dtype}")
    axes.set(xscale="log", yscale="log", xlabel="epsilon", ylabel="relative error of the indirect gradient")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["lenet5", "resnet8", "vgg"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.networks:
        for dtype, epsilon, errors in measure_errors(name, options.seeds):
            rows.append((name, dtype, epsilon, errors))
            median, worst = statistics.median(errors), max(errors)
            print(f"{name:8s} {dtype} epsilon {epsilon:.1e}: median {median:.1e}, worst {worst:.1e}", flush=True)
    if options.picture:
        draw_curves(rows, options.picture)


if __name__ == "__main__":
    main()
