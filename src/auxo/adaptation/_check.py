"""Whether an adapted network is kept, and what speaks against adapting one: without a label, and without a promise."""

import torch
from jaxtyping import Int
from torch import Tensor

from auxo.adaptation._interface import Setting
from auxo.errors import NonFiniteError
from auxo.estimation import transport_confidence
from auxo.runs.history import RunHistory

_MOST_IMAGES = 1000
_NEAR_CHANCE = 0.1


def choose_judges(setting: Setting) -> Int[Tensor, " n"] | None:
    """Return the images by which an adaptation is judged; ``None`` for a task without proportions of classes."""
    target = setting.reader.task.targets[0]
    if target.has_places or not sum(setting.shares):
        return None
    return setting.target.choose(_MOST_IMAGES)


def measure_fit(setting: Setting, judges: Int[Tensor, " n"]) -> float:
    """Return how probable the network finds the classes of images where these have the proportions of training.

    This is COT, of which only a comparison is used here: see :func:`auxo.estimation.transport_confidence`.

    Raises:
        NonFiniteError: an output is not finite.
    """
    reader = setting.reader
    head, parts = reader.require_head(), []
    with reader.reading():
        for chunk in judges.split(reader.batch_size):
            outputs = reader.outputs(reader.inputs(setting.target.fetch(chunk)))[head]
            parts.append(outputs.float().softmax(1).cpu())
    probs = torch.cat(parts)
    if not probs.isfinite().all():
        fix = "the weights have diverged; adapt with a lower learning rate, or train anew"
        raise NonFiniteError(f"finite outputs on {setting.target.name}", "some that are not", fix)
    return float(transport_confidence(probs.double().numpy(), setting.shares).mean())


def doubt_chance(history: RunHistory) -> list[str]:
    """Return that a network does hardly better than guessing on the validation images of its run, if it does not."""
    row = next((row for row in history.first_head() if row.split == "val"), None)
    if row is None or row.chance is None or not row.main.higher_is_better:
        return []
    if row.main.value >= row.chance + _NEAR_CHANCE * (1 - row.chance):
        return []
    digits = row.main.digits
    guessing = 100 * row.chance if row.main.unit == "%" else row.chance
    text = f"{row.primary} on val is {row.main.shown:.{digits}f}, and guessing gives {guessing:.{digits}f}"
    return [f"the network is near chance ({text}): adapting such a network harms as often as it helps"]
