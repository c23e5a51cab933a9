"""The attention over encoders against its formulas in numpy, in float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from auxo.pretexts.fusions import EncoderShapes, FusionStep
from auxo.pretexts.fusions.attention import Attention
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

from .attention_plain import attend

SHAPES = EncoderShapes(("one", "two", "three"), ((5,), (8,), (6,)), 4, 7, seed=0)
pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("query", ["instance", "global", "task_encoder"])
def test_attention__weights_drawn_at_random__vector_and_weights_of_the_formulas(query, heads):
    fusion = Attention.Config(query=query, heads=heads, temperature=0.7).build(SHAPES).double()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.randn_like(parameter))
    parts, own = [torch.randn(3, total) for total in SHAPES.totals], torch.randn(3, 7)
    fused = fusion(parts, own)
    (projections,), (scores,) = fusion.projections, fusion.scores
    plain = [
        tuple(tensor.detach().numpy() for tensor in (layer.weight, layer.bias, norm.weight, norm.bias))
        for layer, norm in zip(projections.linear.values(), projections.norms.values(), strict=True)
    ]
    keys, task = scores.keys.weight.detach().numpy(), scores.task.detach().numpy()
    for place in range(3):
        vector, weights = attend(
            [part[place].numpy() for part in parts],
            plain,
            keys=keys,
            query=None if scores.query is None else scores.query.weight.detach().numpy(),
            task=task,
            read=own[place].numpy() if query == "task_encoder" else None,
            temperature=0.7,
            heads=heads,
        )
        np.testing.assert_allclose(fused.vectors[0][place].detach().numpy(), vector, atol=1e-12)
        np.testing.assert_allclose(fused.weights[place].detach().numpy(), weights, atol=1e-12)


def test_attention__gradient_in_all_weights__that_of_finite_differences():
    fusion = Attention.Config(heads=2, entropy_bonus=0.3, width=4).build(SHAPES).double()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.randn_like(parameter))
    parts, labels = [torch.randn(3, total) for total in SHAPES.totals], torch.tensor([0, 2, 3])
    runtime = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
    step = FusionStep(parts, None, Batch(torch.empty(3, 0, 0, 0), {"label": labels}, labels), runtime)
    names, values = zip(*fusion.named_parameters(), strict=True)

    def loss(*weights):
        fused = torch.func.functional_call(fusion, dict(zip(names, weights, strict=True)), (parts,))
        return functional.cross_entropy(fused.logits, labels) + fusion.further_losses(fused, step)["entropy_loss"]

    assert torch.autograd.gradcheck(loss, values, eps=1e-6, atol=1e-8)
