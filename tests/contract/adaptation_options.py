"""What an adaptation makes of a small network with batch norm and a rotation head."""

import torch

from auxo.adaptation import Setting, UnlabelledImages
from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline, TrainSplit
from auxo.data.fake import oriented_shapes
from auxo.evaluation import Reader
from auxo.methods.joint_training import JointTraining
from auxo.pretexts.rotation import Rotation
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification

SOURCE = oriented_shapes(40, size=12, seed=0)
TARGET = oriented_shapes(80, size=12, seed=1)


def use_adaptation(config):
    """The network's state afterwards, and whether it is checked."""
    runtime = Runtime(config=RuntimeConfig(device="cpu", channels_last=False), device=torch.device("cpu"))
    networks = Networks(BackboneConfig(name="resnet8"), Classification.from_source(SOURCE), seed=0)
    method = JointTraining.Config(pretext=Rotation()).build(networks).eval()
    reader = Reader(method=method, pipeline=InputPipeline.from_source(SOURCE), runtime=runtime, batch_size=40)
    shares = tuple(map(float, method.task.train_counts))
    config.adapt(Setting(reader=reader, target=UnlabelledImages(TARGET), source=TrainSplit(SOURCE), shares=shares))
    return [*method.state_dict().values(), torch.tensor(config.is_checked)]
