"""What a stage's ``tuning`` does to its method, whatever that is."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import nn
from torch.optim import Optimizer

from auxo.errors import OptionError
from auxo.interfaces import AbstractBackbone, AbstractMethod, TrainState
from auxo.optimizers import TuningConfig, decay_by_layer, scale_rates
from auxo.runtime import Runtime, parameters_of
from auxo.training.last_batch import naming_lone_image
from auxo.types import Batches, GradientParts


def scale_backbone_rates(method: AbstractMethod, optimizers: Mapping[str, Optimizer], tuning: TuningConfig) -> None:
    """Give the backbone rates of its own, and its layers, in the optimisers of a method; heads keep theirs.

    Args:
        method: whose shared backbone is meant, and beside it the network that predicts.
        optimizers: of the method; changed in place, before a schedule is built.
        tuning: of the stage.

    Raises:
        OptionError: the method does not train the backbone.
    """
    if not tuning.scales_rates:
        return
    factors: dict[nn.Parameter, float] = {}
    for network in _list_backbones(method):
        own = dict(network.named_parameters())
        layers = [[own[name] for name in names if name in own] for names in network.list_layers()]
        decayed = decay_by_layer(layers, tuning.layer_decay)
        factors |= {each: tuning.backbone_rate * decayed.get(each, 1.0) for each in own.values()}
    _require_trained(optimizers, factors, option="backbone_rate" if tuning.backbone_rate != 1 else "layer_decay")
    for optimizer in optimizers.values():
        scale_rates(optimizer, factors)


class FrozenStart:
    """Keeps the shared backbone as it is for the first steps of a stage, then releases it.

    Its weights ask for no gradient, and it is in evaluation mode: batch norm normalises by its running statistics and
    leaves them alone, and dropout does nothing.

    Args:
        method: whose backbone is meant.
        optimizers: of the method.
        num_steps: for which the backbone is frozen.

    Raises:
        OptionError: the method does not train the backbone.
    """

    def __init__(self, method: AbstractMethod, optimizers: Mapping[str, Optimizer], num_steps: int) -> None:
        self._backbone, self._num_steps, self._is_frozen = method.backbone, num_steps, False
        self._weights = [each for each in method.backbone.parameters() if each.requires_grad]
        if num_steps:
            _require_trained(optimizers, dict.fromkeys(self._weights, 1.0), option="freeze_epochs")

    def hold(self, step: int) -> bool:
        """Freeze or release the backbone for a step, and return whether it is frozen.

        Args:
            step: of the stage, from 0; before it the method may have been put into training mode.
        """
        if step >= self._num_steps:
            self.release()
            return False
        if not self._is_frozen:
            self._ask_gradients(False)
        self._backbone.eval()
        return True

    def release(self) -> None:
        """Let the backbone train again, if it is frozen."""
        if self._is_frozen:
            self._ask_gradients(True)
            self._backbone.train()

    def _ask_gradients(self, is_trained: bool) -> None:
        """Say whether the weights ask for gradients."""
        self._is_frozen = not is_trained
        for weight in self._weights:
            weight.requires_grad_(is_trained)


def name_kind(kind: str, *, is_frozen: bool) -> str:
    """Return the name under which a kind of step is counted; one with a frozen backbone costs less."""
    return f"{kind}, frozen backbone" if is_frozen else kind


def count_parts(batches: Batches, sizes: Mapping[str, int], accumulate: int) -> int:
    """Return in how many parts the batches of a step are computed, in every process alike: they step together.

    A batch that is not full has fewer, each at most as large as a part of a full one.

    Args:
        batches: of the step.
        sizes: images of a full batch of each view, over all processes.
        accumulate: parts of a full batch.
    """
    wanted = max(-(-accumulate * batch.joined_size // sizes[name]) for name, batch in batches.items())
    return max(1, min(wanted, *(batch.joined_size // batch.num_processes for batch in batches.values())))


def update_in_parts(
    method: AbstractMethod, state: TrainState, batches: Batches, runtime: Runtime, *, count: int
) -> object:
    """Take one step on a batch that is computed in parts, and return the metrics of all of it.

    What a method returns instead of metrics is returned as it is.

    Args:
        method: whose loss is a mean over images, and that takes one step on it.
        state: of the stage.
        batches: of the step.
        runtime: of the step.
        count: of parts, at most as many as this process has images of a batch.

    Raises:
        ConfigError: a part of one image is too few for batch norm.
    """
    if count == 1:
        return method.update(state, batches, runtime)
    whole = replace(runtime, parts=GradientParts(count))
    parts = {name: batch.split(count) for name, batch in batches.items()}
    with naming_lone_image(f"parts of one image at step {state.step + 1}", fix="pass a smaller --tuning.accumulate"):
        found: list[object] = [
            method.update(state, {name: members[number] for name, members in parts.items()}, whole)
            for number in range(count)
        ]
    metrics = [each for each in found if isinstance(each, Mapping)]
    if len(metrics) < len(found):
        return next(each for each in found if not isinstance(each, Mapping))
    return {name: torch.stack([each[name] for each in metrics]).mean() for name in metrics[0]}


def _list_backbones(method: AbstractMethod) -> list[AbstractBackbone]:
    """Return the shared backbone, and the network that predicts where that is another."""
    return list(dict.fromkeys((method.backbone, method.predicting_backbone)))


def _require_trained(
    optimizers: Mapping[str, Optimizer], weights: Mapping[nn.Parameter, float], *, option: str
) -> None:
    """Refuse an option for weights of which none is trained."""
    if not any(parameter in weights for optimizer in optimizers.values() for parameter in parameters_of(optimizer)):
        raise OptionError(option, "left out where the backbone is not trained", "given", "leave it out")
