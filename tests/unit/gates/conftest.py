"""Three tasks answered from the same features, in float64, and one process to weight them in."""

from typing import NamedTuple

import pytest
import torch
from torch.nn.functional import cross_entropy

from auxo.gates import GateConfig
from auxo.options import find_member
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

NUM_OUTPUTS = (2, 16, 6)
COUNT, NUM_FEATURES = 12, 8


class Tasks(NamedTuple):
    """Features, each sample's losses, and the batch they stand for."""

    features: torch.Tensor
    losses: torch.Tensor
    batch: Batch


@pytest.fixture
def runtime():
    return Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


@pytest.fixture
def tasks():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(COUNT, NUM_FEATURES, generator=generator, dtype=torch.float64, requires_grad=True)
    columns = []
    for count in NUM_OUTPUTS:
        head = torch.randn(NUM_FEATURES, count, generator=generator, dtype=torch.float64)
        answers = torch.randint(count, (COUNT,), generator=generator)
        columns.append(cross_entropy(features @ head, answers, reduction="none"))
    whole = torch.arange(COUNT)
    return Tasks(features, torch.stack(columns, 1), Batch(torch.zeros(COUNT, 3, 2, 2), {"label": whole}, whole))


@pytest.fixture
def build():
    def build(name="learned", seed=0, num_outputs=NUM_OUTPUTS, **options):
        config = find_member(GateConfig, name)(**options)
        return config.build(num_features=NUM_FEATURES, num_outputs=num_outputs, seed=seed).double()

    return build
