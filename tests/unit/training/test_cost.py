"""What training costs, told before it begins."""

from dataclasses import replace

import torch

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, PlaceMap, Splits, TrainSplit, ValSplit
from auxo.data.fake import oriented_shapes
from auxo.methods.segmenter import Segmenter
from auxo.runs.experiment import StageConfig
from auxo.runtime import open_runtime
from auxo.tasks import Segmentation, TaskConfig
from auxo.training.cost import measure_costs

from .run_here import make_config


def with_masks(source):
    masks = (source.images[:, 0] > 99).to(torch.uint8)
    maps = {"mask": PlaceMap(masks, ("dark", "bright"), 255)}
    return InMemorySource(source.name, source.images, source.columns, maps=maps)


def test_measure_costs__a_kind_of_step_after_the_end_of_the_stage__is_known_where_that_is_made_longer():
    source = with_masks(oriented_shapes(24, size=16, seed=0))
    train, val = source.subset(torch.arange(16), "a"), source.subset(torch.arange(16, 24), "b")
    splits = Splits(TrainSplit(train), ValSplit(val), None, task_kind=Segmentation)
    method = Segmenter.Config(auxiliary_weight=0.5, auxiliary_after_epochs=3)
    config = make_config(StageConfig(method=method, epochs=2, batch_size=8))
    config = replace(config, task=TaskConfig(name="segmentation"), backbone=BackboneConfig(name="conv4"))
    with open_runtime(config.runtime) as runtime:
        (cost,) = measure_costs(config, splits=splits, runtime=runtime)
    alone, joint = cost.flops_per_step["alone"], cost.flops_per_step["joint"]
    assert joint > alone > 0
    assert [cost.count_flops(epochs) for epochs in (2, 5)] == [4 * alone, 6 * alone + 4 * joint]
