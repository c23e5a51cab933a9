"""Steps of every objective of pixels in float64: loss, gradients, weights and memory after each."""

from dataclasses import replace

import torch
from safetensors.torch import save_file
from torch import nn

from auxo.pretexts.pixels import PixelSampling
from auxo.pretexts.pixels.contrast import Contrast
from auxo.pretexts.pixels.cross_entropy import CrossEntropy
from auxo.random import Draws, named_generator
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.types import Batch

_CONTRAST = Contrast.Config(outputs=5, sampling=PixelSampling(max_samples=60))
CASES = {
    "contrast": _CONTRAST,
    "contrast-map": replace(_CONTRAST, projects="map"),
    "contrast-memory": replace(_CONTRAST, memory=9, positives="cross_image"),
    "cross_entropy": CrossEntropy.Config(),
}
STEPS, SIDE, NUM_LABELS = 2, 8, 3


def part_of_batch(count, runtime, seed):
    """This process's images and labels; one image has no label at all, and the parts differ in known pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, NUM_LABELS, (count, SIDE, SIDE), generator=generator)
    labels[0] = -1
    middle = -(-count // runtime.num_processes)
    first, end = (0, middle) if runtime.rank == 0 else (middle, count)
    indices = torch.arange(first, end) + 20
    return Batch(images[first:end], {"labels": labels[first:end]}, indices, first, count, runtime.num_processes)


def save_steps(folder, count, runtime):
    """Save each case's numbers."""
    for name, config in CASES.items():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        objective = config.build(6, num_labels=NUM_LABELS, seed=0)
        module = nn.ModuleDict({"network": network, "objective": objective}).double().train()
        runtime.prepare(module, networks=[])
        named = dict(module.named_parameters())
        optimizer = torch.optim.SGD(named.values(), lr=0.1, momentum=0.9)
        saved = {}
        for step in range(STEPS):
            batch = part_of_batch(count, runtime, seed=step)
            draws = Draws(named_generator(0, "pixels", step), first=batch.first, total=count)
            features = module["network"](batch.images)
            loss = module["objective"](
                features, batch.targets["labels"], batch=batch, draws=draws, runtime=runtime
            ).loss
            runtime.step(optimizer, loss)
            saved |= {f"{step} gradient {key}": parameter.grad.clone() for key, parameter in named.items()}
            saved[f"{step} loss"] = runtime.mean_of(loss.detach())
        where = f"{name}-{runtime.rank}-of-{runtime.num_processes}.safetensors"
        tensors = {key: value.contiguous() for key, value in {**module.state_dict(), **saved}.items()}
        save_file(tensors, folder / where)


def main(folder, count):
    torch.set_num_threads(1)
    with open_runtime(RuntimeConfig(device="cpu", channels_last=False)) as runtime:
        save_steps(folder, count, runtime)
