"""The statistics of a network that is adapted in one process or in two."""

from dataclasses import replace

import torch
from safetensors.torch import save_file

from auxo.adaptation import Setting, UnlabelledImages
from auxo.adaptation.batch_norm import BatchNormAdaptation
from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.evaluation import Reader
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification

CASES = {"synchronised": True, "torch's": False}


def main(folder, count):
    torch.set_num_threads(1)
    source = oriented_shapes(count, size=16, seed=0)
    with open_runtime(RuntimeConfig(device="cpu", channels_last=False)) as opened:
        for name, sync in CASES.items():
            runtime = replace(opened, config=replace(opened.config, sync_batch_norm=sync))
            task = Classification.from_source(source)
            method = Supervised.Config().build(Networks(BackboneConfig(name="resnet8"), task, seed=0))
            runtime.prepare(method, networks=method.networks)
            pipeline = InputPipeline.from_source(source)
            reader = Reader(method=method.eval(), pipeline=pipeline, runtime=runtime, batch_size=4)
            BatchNormAdaptation().adapt(Setting(reader=reader, target=UnlabelledImages(source)))
            where = f"{name}-{runtime.rank}-of-{runtime.num_processes}.safetensors"
            tensors = {key: value.contiguous() for key, value in method.state_dict().items() if "running" in key}
            save_file(tensors, str(folder / where))
