"""Whether classes seem to be missing among the images that a network is adapted to, from its predictions alone."""

import torch

from auxo.adaptation._interface import Setting
from auxo.adaptation._statistics import find_batch_norms, mix_target

FAR = 0.3
"""Distance of predicted from trained class proportions from which on a note says so, half the summed difference.

Of 24 transformed copies of validation images (three networks on digits, statistics mixed) 3 are further, of the images
of three of ten classes in the same copies all 24.
"""


def doubt_classes(setting: Setting, *, mixing: float, images: int) -> list[str]:
    """Return that predicted classes are far from their proportions in training, if they are.

    They are predicted with mixed statistics: before, a shift of the images alone moves predictions far. The network is
    left as it was.

    Args:
        setting: the network and the images.
        mixing: weight of the target's statistics, in [0, 1].
        images: at most so many are looked at.
    """
    reader, target = setting.reader, setting.reader.task.targets[0]
    if target.has_places or not sum(setting.shares):
        return []
    state = {name: tensor.detach().clone() for name, tensor in reader.method.state_dict().items()}
    if find_batch_norms(reader.method):
        mix_target(setting, mixing=mixing, images=images)
    distance = _measure_distance(setting, images)
    reader.method.load_state_dict(state)
    if distance <= FAR:
        return []
    far = f"predicted classes are far from their proportions in training ({distance:.2f} of 1)"
    return [f"{far}: where classes are missing among the images, adapting may harm"]


def _measure_distance(setting: Setting, images: int) -> float:
    """Return how far predicted classes are from their proportions in training, in [0, 1]."""
    reader = setting.reader
    head, parts = reader.require_head(), []
    with reader.reading():
        for chunk in setting.target.choose(images).split(reader.batch_size):
            parts.append(reader.outputs(reader.inputs(setting.target.fetch(chunk)))[head].argmax(1).cpu())
    predicted, shares = torch.cat(parts), torch.tensor(setting.shares, dtype=torch.float64)
    found = predicted.bincount(minlength=len(shares)).double() / len(predicted)
    return float((found - shares / shares.sum()).abs().sum() / 2)
