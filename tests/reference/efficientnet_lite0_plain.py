"""EfficientNet-Lite0 in functions, written from its description; imports nothing of auxo.

Tan, Le, EfficientNet, ICML 2019, Table 1, without squeeze and excitation and with ReLU6 (the authors' README of the
Lite form); inverted bottlenecks as Sandler et al., MobileNetV2, CVPR 2018, Table 1. Weights go by the names of the
PyTorch package that carries the ImageNet weights.
"""

import torch
from torch.nn import functional

EPS = 1e-3

# One row for each block: side of the depthwise kernel, stride, times the channels are widened, channels after it.
BLOCKS = [
    (3, 1, 1, 16),
    *[(3, 2, 6, 24), (3, 1, 6, 24)],
    *[(5, 2, 6, 40), (5, 1, 6, 40)],
    *[(3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80)],
    *[(5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)],
    *[(5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192)],
    (3, 1, 6, 320),
]


def convolve_same(maps, weight, stride, groups=1):
    """TensorFlow's SAME: far more zeros than are needed, stride 1, then the rows and columns that SAME would give.

    Output ``i`` of a side of ``n`` pixels begins at pixel ``i stride - before``, where ``before`` is half the missing
    pixels, rounded down.
    """
    size = weight.shape[-1]
    dense = functional.conv2d(functional.pad(maps, [size] * 4), weight, groups=groups)  # output j begins at j - size
    kept = []
    for n in maps.shape[2:]:
        count = (n + stride - 1) // stride
        missing = max(stride * (count - 1) + size - n, 0)
        kept.append(torch.arange(count) * stride - missing // 2 + size)
    return dense[:, :, kept[0]][:, :, :, kept[1]]


def normalise(maps, weights, name, training):
    """Batch norm by the running statistics, or by those of the batch."""
    mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
    if training:
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
    scale = weights[f"{name}.weight"] / (variance + EPS) ** 0.5
    return maps * scale[:, None, None] + (weights[f"{name}.bias"] - mean * scale)[:, None, None]


def relu6(maps):
    return torch.minimum(torch.maximum(maps, maps.new_zeros(())), maps.new_tensor(6.0))


def compute_maps(images, weights, *, training=False):
    """Return the output of every block, and of the last convolution."""

    def layer(maps, convolution, norm, stride=1, groups=1):
        return normalise(convolve_same(maps, weights[f"{convolution}.weight"], stride, groups), weights, norm, training)

    maps = relu6(layer(images, "_conv_stem", "_bn0", stride=2))
    outputs = []
    for index, (_, stride, widened, channels) in enumerate(BLOCKS):
        before, block = maps, f"_blocks.{index}"
        if widened > 1:
            maps = relu6(layer(maps, f"{block}._expand_conv", f"{block}._bn0"))
        maps = relu6(layer(maps, f"{block}._depthwise_conv", f"{block}._bn1", stride, groups=maps.shape[1]))
        maps = layer(maps, f"{block}._project_conv", f"{block}._bn2")
        if stride == 1 and before.shape[1] == channels:
            maps = maps + before
        outputs.append(maps)
    return [*outputs, relu6(layer(maps, "_conv_head", "_bn1"))]


def classify(images, weights):
    """Return the logits of ImageNet's 1,000 classes."""
    return compute_maps(images, weights)[-1].mean((2, 3)) @ weights["_fc.weight"].T + weights["_fc.bias"]


def count_parameters(channels=3, classes=1000):
    """Count by hand: convolutions without bias, two numbers per channel of batch norm, a head with bias."""
    width, total = 32, 9 * channels * 32 + 2 * 32
    for size, _, widened, after in BLOCKS:
        wide = width * widened
        total += 0 if widened == 1 else width * wide + 2 * wide
        total += size * size * wide + 2 * wide + wide * after + 2 * after
        width = after
    return total + 320 * 1280 + 2 * 1280 + (1280 + 1) * classes
