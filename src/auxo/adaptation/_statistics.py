"""The statistics of batch norm, mixed with those of a set of images, whatever its order and the processes."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from auxo.adaptation._interface import Setting
from auxo.errors import ConfigError, NonFiniteError
from auxo.evaluation import Reader
from auxo.layers.modes import evaluation_mode
from auxo.runtime import naming_memory

_INSTEAD = (
    "train with --data.augment, jointly with a pretext on the new images, or label some of them; "
    "shot and rotation move other weights"
)
_SLICE = 32  # images that are summed at a time: copies of a whole layer's inputs would double the memory


class Moments(NamedTuple):
    """Mean and variance of every channel.

    Args:
        mean: shape ``(channels,)``.
        variance: shape ``(channels,)``; unbiased, as running variances are.
    """

    mean: Float[Tensor, " channels"]
    variance: Float[Tensor, " channels"]


def find_batch_norms(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that normalise by stored statistics of a batch, by their place in a module.

    They are told by their buffers ``running_mean`` and ``running_var``, not by their class: libraries have layers of
    their own that are frozen or fused with an activation. Instance norm, whose buffers are averages over images of
    something else, is left out.
    """
    return {
        place: layer
        for place, layer in module.named_modules()
        if isinstance(getattr(layer, "running_mean", None), Tensor)
        and isinstance(getattr(layer, "running_var", None), Tensor)
        and not isinstance(layer, _InstanceNorm)
    }


def read_moments(layer: nn.Module) -> Moments:
    """Return the statistics that a layer normalises by, the tensors themselves."""
    return Moments(layer.get_buffer("running_mean"), layer.get_buffer("running_var"))


def require_batch_norms(setting: Setting) -> None:
    """Refuse a network without batch norm.

    Raises:
        ConfigError: it has none, and what else there is to do.
    """
    if not find_batch_norms(setting.reader.method):
        got = f"none in {type(setting.reader.method.backbone).__name__}"
        raise ConfigError("a network with batch norm, whose statistics are adapted", got, _INSTEAD)


def mix_target(setting: Setting, *, mixing: float, images: int) -> dict[str, int]:
    """Mix the statistics of all layers with those of the target, and return how many images and layers those are.

    Args:
        setting: the network, changed in place, and the images.
        mixing: weight of the target, in [0, 1].
        images: at most so many are used, chosen by their contents.

    Raises:
        ConfigError: no batch norm is on the way to the head that predicts.
        NonFiniteError: a value that reaches a layer is not finite.
    """
    reader, chosen = setting.reader, setting.target.choose(images)
    own = chosen.tensor_split(reader.runtime.num_processes)[reader.runtime.rank]
    mixed = mix_statistics(reader, setting.target.fetch(own), mixing=mixing, name=setting.target.name)
    if not mixed:
        raise ConfigError("batch norm on the way to the head that predicts", "some elsewhere only", _INSTEAD)
    return {"images": len(chosen), "layers": len(mixed)}


def mix_statistics(
    reader: Reader, pixels: UInt8[Tensor, "n channels height width"], *, mixing: float, name: str
) -> list[str]:
    """Mix the statistics of every batch norm with those of images, in one pass in which all are one batch.

    A layer that the images reach is given ``(1 - mixing) own + mixing images'``, and normalises by that what later
    layers see. Means and variances are mixed each by themselves.

    Args:
        reader: of the network, which is changed in place.
        pixels: this process's part of the images; the statistics are of those of all processes.
        mixing: weight of the images, in [0, 1].
        name: of the set, for messages.

    Returns:
        The places of the layers that were reached with two values or more of each channel; others are left alone.

    Raises:
        NonFiniteError: a value that reaches a layer is not finite.
    """
    layers = find_batch_norms(reader.method)
    mixers = {
        place: _Mixer(layer, reader, mixing=mixing, place=f"{place} on {name}") for place, layer in layers.items()
    }
    use = f"one pass of {len(pixels)} images, whose statistics are taken at once"
    with (
        evaluation_mode(reader.method),
        torch.inference_mode(),
        naming_memory(use, fix="pass fewer --images"),
        _watching(mixers.values()),
    ):
        reader.outputs(reader.inputs(pixels))
    return [place for place, mixer in mixers.items() if mixer.is_mixed]


class _Mixer:
    """What reaches a layer, and the statistics that it has for it.

    Sums are of values less the layer's own mean, as the difference of a mean square and a squared mean would cancel
    otherwise. Each image is summed by itself in float32, then all in float64, so that the order of images and the
    processes show in the last bits of float64 only.
    """

    def __init__(self, layer: nn.Module, reader: Reader, *, mixing: float, place: str) -> None:
        self.layer = layer
        self.is_mixed = False
        self._reader, self._mixing, self._place = reader, mixing, place
        self._own = Moments(*(each.clone() for each in read_moments(layer)))
        self._sums = torch.zeros(3, len(self._own.mean), dtype=torch.float64)  # count, sum, sum of squares

    def mix(self, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Give the layer the mixed statistics, just before it normalises its inputs, ``(n, channels, ...)``."""
        for values in inputs[0].split(_SLICE):
            self._add(values)
        total = self._reader.runtime.sum(self._sums.to(_exact_device(self._reader.runtime.device))).cpu()
        if not total.isfinite().all():
            fix = "train with a lower learning rate, or look at the images"
            raise NonFiniteError(f"finite inputs of {self._place}", "some that are not", fix)
        count = float(total[0, 0])
        if count < 2:
            return
        shift, square = total[1] / count, total[2] / count
        variance = (square - shift.square()).clamp(min=0) * count / (count - 1)
        found = Moments(self._own.mean.double().cpu() + shift, variance)
        for buffer, own, other in zip(read_moments(self.layer), self._own, found, strict=True):
            buffer.copy_(own.lerp(other.to(own), self._mixing))
        self.is_mixed = True

    def _add(self, inputs: Tensor) -> None:
        """Add some inputs to the sums."""
        values = inputs.float().reshape(*inputs.shape[:2], -1) - self._own.mean.float().view(1, -1, 1)
        count = torch.full_like(self._sums[0], values.shape[0] * values.shape[2])
        self._sums += torch.stack([count, *(each.sum(2).cpu().double().sum(0) for each in (values, values.square()))])


@contextmanager
def _watching(mixers: Iterable[_Mixer]) -> Iterator[None]:
    """Let the layers mix within the block."""
    with ExitStack() as stack:
        for mixer in mixers:
            stack.callback(mixer.layer.register_forward_pre_hook(mixer.mix).remove)
        yield


def _exact_device(device: torch.device) -> torch.device:
    """Return where float64 numbers are summed over processes: gloo needs the CPU, NCCL the GPU."""
    return device if device.type == "cuda" else torch.device("cpu")
