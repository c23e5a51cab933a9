"""Grad-CAM without automatic differentiation: loops for the network, central differences for the gradient."""

import numpy as np

STEP = 1e-5


def convolve(maps: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """Convolve maps of shape (channels, height, width) with 3x3 kernels and zero padding of one pixel, one by one."""
    _, height, width = maps.shape
    padded = np.zeros((maps.shape[0], height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = maps
    out = np.zeros((len(weight), -(-height // stride), -(-width // stride)))
    for k in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                window = padded[:, stride * i : stride * i + 3, stride * j : stride * j + 3]
                out[k, i, j] = (window * weight[k]).sum() + bias[k]
    return out


def first_map(image: np.ndarray, net: dict[str, np.ndarray]) -> np.ndarray:
    """Return the activated first maps."""
    return np.maximum(convolve(image, net["convolution1.weight"], net["convolution1.bias"], 1), 0)


def second_map(first: np.ndarray, net: dict[str, np.ndarray]) -> np.ndarray:
    """Return the second maps, at half the size."""
    return np.tanh(convolve(first, net["convolution2.weight"], net["convolution2.bias"], 2))


def logits_of_first(first: np.ndarray, net: dict[str, np.ndarray]) -> np.ndarray:
    """Return the logits from the first maps."""
    return logits_of_second(second_map(first, net), net)


def logits_of_second(second: np.ndarray, net: dict[str, np.ndarray]) -> np.ndarray:
    """Return the logits from the second maps."""
    return net["head.weight"] @ np.square(second.mean((1, 2))) + net["head.bias"]


def grad_cam_by_hand(image: np.ndarray, net: dict[str, np.ndarray], layer: str, label: int) -> np.ndarray:
    """Return ReLU of the maps weighted by the mean of the logit's derivatives, Eqs. 1 and 2 of Selvaraju et al."""
    maps = first_map(image, net)
    rest = logits_of_first
    if layer == "second":
        maps, rest = second_map(maps, net), logits_of_second
    weighted = np.zeros(maps.shape[1:])
    for channel in range(maps.shape[0]):
        total = 0.0
        for i in range(maps.shape[1]):
            for j in range(maps.shape[2]):
                values = []
                for sign in (1, -1):
                    moved = maps.copy()
                    moved[channel, i, j] += sign * STEP
                    values.append(rest(moved, net)[label])
                total += (values[0] - values[1]) / (2 * STEP)
        weighted += total / (maps.shape[1] * maps.shape[2]) * maps[channel]
    return np.maximum(weighted, 0)
