"""The method against the plain rendering, in float64: losses, gradients, mask and moving average."""

import pytest
import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import TrainState
from auxo.methods.fixmatch import FixMatch
from auxo.optimizers import OptimizerConfig
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch

from .fixmatch_plain import averaged, labelled_loss, probabilities, unlabelled_loss

TASK = Classification(class_names=("a", "b", "c"), channels=3, height=28, width=28)
LR = 0.1
OPTIMIZER = OptimizerConfig(lr=LR, momentum=0.0, nesterov=False, weight_decay=0.0)


def make_batches(seed=0, labelled=4, unlabelled=6):
    generator = torch.Generator().manual_seed(seed)

    def batch(count, labels):
        images = torch.randn(count, 3, 28, 28, generator=generator, dtype=torch.float64)
        return Batch(images, {"label": labels}, torch.arange(count))

    none = torch.full((unlabelled,), -1)
    labels = torch.randint(3, (labelled,), generator=generator)
    return {"train": batch(labelled, labels), "weak": batch(unlabelled, none), "strong": batch(unlabelled, none)}


def make(backbone="resnet8", **options):
    config = FixMatch.Config(optimizer=OPTIMIZER, **options)
    method = config.build(Networks(BackboneConfig(name=backbone), TASK, seed=0)).double().train()
    with torch.no_grad():
        method.semantic.weight.mul_(3)  # so that some answers are sure and some are not
    return method, TrainState(method.optimizers(), seed=0)


def runtime():
    config = RuntimeConfig(device="cpu", precision="float32", channels_last=False)
    return Runtime(config=config, device=torch.device("cpu"))


@pytest.mark.parametrize("backbone", ["lenet5", "resnet8"])
@pytest.mark.parametrize(("part", "weight"), [(1.0, 1.0), (0.5, 1.0), (0.5, 0.3), (0.0, 1.0)])
def test_fixmatch__one_step__is_that_of_the_paper(part, weight, backbone):
    plain_method, _ = make(backbone)
    plain = nn.ModuleList([plain_method.backbone, plain_method.semantic])
    batches = make_batches()
    logits = plain[1](plain[0](torch.cat([batch.images for batch in batches.values()])).pooled)
    confidences = [max(probabilities(row)) for row in logits[4:10].tolist()]
    threshold = {1.0: 0.0, 0.5: sum(sorted(confidences)[2:4]) / 2, 0.0: 1.0}[part]
    on_labels = labelled_loss(logits[:4], batches["train"].labels)
    on_views, kept = unlabelled_loss(logits[4:10], logits[10:], threshold)
    assert kept == part
    (on_labels + weight * on_views).backward()

    method, state = make(backbone, threshold=threshold, unlabelled_weight=weight)
    metrics = method.update(state, batches, runtime())
    torch.testing.assert_close(metrics["classification_loss"], on_labels.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(metrics["unlabelled_loss"], on_views.detach(), rtol=1e-12, atol=1e-15)
    assert float(metrics["mask_rate"]) == pytest.approx(kept, abs=1e-12)
    trained = [*method.backbone.parameters(), *method.semantic.parameters()]
    for ours, theirs in zip(trained, plain.parameters(), strict=True):
        torch.testing.assert_close(ours.detach(), theirs.detach() - LR * theirs.grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_fixmatch__averaged_weights_and_statistics__follow_the_plain_recursion(decay):
    method, state = make(ema_decay=decay)
    names = [name for name, tensor in method.state_dict().items() if not name.startswith("averaged.")]
    history = {name: [] for name in names}
    for step in range(14):
        method.update(state, make_batches(seed=step), runtime())
        state.step += 1
        for name, tensor in method.state_dict().items():
            if name in history:
                history[name].append(tensor.clone())
    final = method.state_dict()
    for name, values in history.items():
        ours = final[f"averaged.{name}"]
        expected = averaged(values, decay)[-1] if values[0].is_floating_point() else values[-1]
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)
    assert any("running_mean" in name for name in names)
    with torch.no_grad():
        images = make_batches()["train"].images
        method.eval()
        by_average = method.averaged.semantic(method.averaged.backbone(images).pooled)
        assert torch.equal(method.predict(images), by_average)
        assert not torch.allclose(by_average, method.semantic(method.backbone(images).pooled))
