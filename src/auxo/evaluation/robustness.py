"""Measures under attack by an outside library, foolbox, whose attacks know nothing of how the network was trained."""

import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import torch
from jaxtyping import Int
from torch import Tensor, nn

from auxo.data import EvaluationSplit
from auxo.errors import ConfigError, OptionError
from auxo.evaluation.attacks import EPSILON, EPSILONS, AttackConfig
from auxo.evaluation.reader import Reader
from auxo.interfaces import AbstractMethod
from auxo.layers.modes import evaluation_mode
from auxo.random import derive_seed, global_seed
from auxo.runs.results import EvaluationRow
from auxo.tasks import AbstractTask
from auxo.types import Images, Normalisation


def evaluate_under_attack(
    reader: Reader,
    split: EvaluationSplit,
    *,
    attacks: Sequence[AttackConfig],
    epsilon: float = EPSILON,
    seed: int,
) -> list[EvaluationRow]:
    """Measure the head that predicts on a split, clean, under each attack, and under the worst of them for each image.

    Attacks change pixels in [0, 1]; the network, its normalisation included, is in evaluation mode and float32, and
    sees the images untransformed. An attack that makes things no worse leaves its image as it was, so no measure is
    better than the clean one.

    Args:
        reader: of the method, which is attacked through ``predict``; its autocast is not used. Its batch size is that
            of the images attacked together; with random starts it has a part in the numbers drawn.
        split: images and their classes.
        attacks: options of each, at least one.
        epsilon: largest change of a pixel, in units of the range 0..1, in (0, 1]; one ball for all.
        seed: of random starts and noise.

    Returns:
        Rows for these splits: the clean one under its own name, ``NAME/ATTACK`` for every attack, and
        ``NAME/all_attacks``, where an image counts only if it is told under every one. What is measured under attack is
        an upper bound of the true value in the ball: another attack may find more.

    Raises:
        ConfigError: foolbox is missing, no head predicts, the task has no classes, or there is no attack.
        DataError: the split has no image.
        NonFiniteError: the logits are not all finite.

    Cost: per image and start about ``steps`` forward and backward passes of ``pgd``, ``pgd_margin`` and ``momentum``;
    100 of ``fmn``; up to 50 of ``deepfool``, each with a backward pass for every class up to ten; 100 forward passes of
    ``noise``.
    """
    _check_ball(epsilon)
    if not attacks:
        raise ConfigError("one attack or more", "none", "auxo list attacks names them")
    foolbox = _import_foolbox()
    head, target = reader.require_head(), reader.require_answers("attacks")
    titles = [attack.title for attack in attacks]
    names = [split.name, *(f"{split.name}/{attack}" for attack in titles), f"{split.name}/all_attacks"]
    tallies = reader.tallies(split, len(names))[head]
    method = reader.method
    with evaluation_mode(method), _without_weight_gradients(method):
        for number, batch in enumerate(reader.batches(split)):
            normalisation = reader.normalised(batch).normalisation
            assert normalisation is not None  # the pipeline has run
            network, pixels = _PixelNetwork(method, normalisation).eval(), batch.images.float() / 255
            batch_seed = derive_seed(seed, "attack", reader.runtime.rank, number)
            attacker = _Attacker(foolbox, network, epsilon)
            worst = _under_each(
                attacker, pixels, batch.targets, reader.task, attacks, seed=batch_seed, target=target.name
            )
            for tally, outputs in zip(tallies, worst, strict=True):
                tally.add(reader.task.score(outputs, batch.targets), batch.indices)
    columns = split.source.columns
    return [reader.row(name, head, tally.merge(), columns) for name, tally in zip(names, tallies, strict=True)]


def adversarial_images(
    network: nn.Module,
    pixels: Images,
    right: Int[Tensor, " batch"],
    attack: AttackConfig,
    *,
    epsilon: float = EPSILON,
    seed: int,
) -> Images:
    """Return the images that one attack of the library makes, inside the ball and the range of pixels.

    Args:
        network: maps pixels in [0, 1] to class logits; in evaluation mode.
        pixels: shape ``(batch, channels, height, width)``; in [0, 1].
        right: shape ``(batch,)``; the answers to be left.
        attack: its options.
        epsilon: largest change of a pixel, in units of the range 0..1, in (0, 1].
        seed: of random starts and noise.

    Raises:
        ConfigError: foolbox is missing, or there is no such ball.

    Side effects: gradients of the network's weights accumulate, unless they require none.
    """
    _check_ball(epsilon)
    return _Attacker(_import_foolbox(), network, epsilon).attack(pixels, right, attack, seed=seed)


def _check_ball(epsilon: float) -> None:
    """Refuse a ball that is empty or larger than the range of pixels."""
    if epsilon not in EPSILONS:
        raise OptionError("epsilon", f"{EPSILONS}, in units of the range of pixels", str(epsilon), "8/255 is 0.0314")


class _PixelNetwork(nn.Module):
    """A method's prediction from pixels in [0, 1]."""

    def __init__(self, method: AbstractMethod, normalisation: Normalisation) -> None:
        super().__init__()
        self.method = method
        self.normalisation = normalisation

    def forward(self, pixels: Images) -> Tensor:
        """Return the logits of the head in use, shape ``(batch, classes)``, in float32."""
        return self.method.predict(self.normalisation.to_inputs(pixels)).float()


@contextmanager
def _without_weight_gradients(module: nn.Module) -> Iterator[None]:
    """Let no gradient reach the weights: the library calls ``backward``, which would fill their ``grad``."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@dataclass(frozen=True)
class _Attacker:
    """Makes the library's attacks on a network, within one ball.

    Args:
        foolbox: the library.
        network: maps pixels in [0, 1] to logits.
        epsilon: largest change of a pixel.
    """

    foolbox: ModuleType
    network: nn.Module
    epsilon: float

    def attack(self, pixels: Images, right: Int[Tensor, " batch"], config: AttackConfig, *, seed: int) -> Images:
        """Return what an attack made; where it failed to give numbers, the clean image."""
        model = self.foolbox.PyTorchModel(self.network, bounds=(0, 1), device=pixels.device)
        with global_seed(seed):
            _, found, _ = config.build(self.foolbox)(model, pixels, right, epsilons=self.epsilon)
        found = torch.where(found.isfinite(), found, pixels).detach()
        lowest, highest = (pixels - self.epsilon).clamp(0, 1), (pixels + self.epsilon).clamp(0, 1)
        return torch.minimum(torch.maximum(found, lowest), highest)


def _under_each(
    attacker: _Attacker,
    pixels: Images,
    targets: Mapping[str, Tensor],
    task: AbstractTask,
    attacks: Sequence[AttackConfig],
    *,
    seed: int,
    target: str,
) -> list[Tensor]:
    """Return the outputs of clean images, under each attack, and under the worst of all for each image."""
    with torch.no_grad():
        clean = attacker.network(pixels)
    outputs = [clean]
    for attack in attacks:
        worst = clean
        for start in range(attack.num_starts):
            attack_seed = derive_seed(seed, attack.title, start)
            found = attacker.attack(pixels, targets[target], attack, seed=attack_seed)
            with torch.no_grad():
                worst = task.worsened(worst, attacker.network(found), targets)
        outputs.append(worst)
    overall = clean
    # one after another: "worse" is the task's to say, so there is no maximum over all at once
    for found in outputs[1:]:
        overall = task.worsened(overall, found, targets)
    return [*outputs, overall]


def _import_foolbox() -> ModuleType:
    """Import foolbox, which takes gaussian_filter from a place in scipy that warns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module("foolbox")
    except ImportError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        fix = "pip install 'auxo[robust]'; foolbox imports GitPython, which wants the program git"
        raise ConfigError("the package foolbox for attacks", f"an import that failed ({reason})", fix) from error
