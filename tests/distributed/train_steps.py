"""Takes 20 steps of several methods in float64 and saves their weights; one of the processes the environment names."""

import dataclasses
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline, Loader
from auxo.data.fake import oriented_shapes
from auxo.interfaces import TrainState
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.rotation import JointRotation
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.types import Task

CASES = {
    "ossl-without-batch-norm": (OSSL.Config(), "lenet5"),
    "ossl-synchronised-batch-norm": (OSSL.Config(), "resnet8"),
    "rotation-random": (JointRotation.Config(rotation="random"), "lenet5"),
    "ossl-implicit": (OSSL.Config(scope="implicit", implicit=ImplicitConfig(newton_steps=6, iterations=40)), "lenet5"),
}
STEPS = 20


def main(folder, batch_size):
    torch.set_num_threads(1)
    source = oriented_shapes(40, size=28, seed=2)
    pipeline = InputPipeline.from_source(source, augment="crop_flip")
    task = Task(source.class_names, *source.image_shape)
    with open_runtime(RuntimeConfig(device="cpu", channels_last=False)) as runtime:
        for name, (config, backbone) in CASES.items():
            loader = Loader(
                source, batch_size=batch_size, seed=7, rank=runtime.rank, num_processes=runtime.num_processes
            )
            method = config.build(BackboneConfig(name=backbone).build(task, seed=0), task, seed=0).double()
            runtime.prepare(method, backbone=method.backbone)
            method.train()
            state = TrainState(method.optimizers(), seed=0)
            for batch in loader.batches(0, STEPS):
                ready = pipeline(batch, seed=state.step)
                ready = dataclasses.replace(ready, images=ready.images.double())
                method.update(state, {"train": ready, "meta": ready}, runtime)
                state.step += 1
            save_file(method.state_dict(), folder / f"{name}-{runtime.rank}-of-{runtime.num_processes}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
