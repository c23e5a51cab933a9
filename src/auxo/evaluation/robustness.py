"""Accuracy under attack by an outside library, foolbox, whose attacks know nothing of how the network was trained."""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from auxo.data import EvaluationSplit
from auxo.errors import ConfigError
from auxo.evaluation.images import evaluation_mode
from auxo.evaluation.reader import Reader
from auxo.interfaces import AbstractMethod
from auxo.random import derive_seed, global_seed
from auxo.runs.results import EvaluationRow
from auxo.tasks import AbstractTask
from auxo.types import Images, Labels, Normalisation, refuse_unread

AttackName: TypeAlias = Literal["pgd", "pgd_margin", "momentum", "fmn", "deepfool", "noise"]

ATTACKS: tuple[AttackName, ...] = get_args(AttackName)
"""Names of the attacks, in the order in which they are made."""

_RESTARTED = ("pgd", "pgd_margin")
_STEPPED = (*_RESTARTED, "momentum")
_READ_BY = {"steps": _STEPPED, "step_size": _STEPPED, "restarts": _RESTARTED}
_NOISE_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """Which attacks, and how strong.

    Args:
        attacks: of :data:`ATTACKS`.
        epsilon: largest change of a pixel, in units of the range 0..1, in (0, 1].
        steps: of the attacks ``pgd``, ``pgd_margin`` and ``momentum``, >= 1.
        step_size: change of every pixel in one of these steps, in units of the range 0..1, in (0, 1].
        restarts: random starts of ``pgd`` and ``pgd_margin``, >= 1; the worst counts.
    """

    attacks: tuple[str, ...] = ATTACKS
    epsilon: float = 8 / 255
    steps: int = 20
    step_size: float = 2 / 255
    restarts: int = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.attacks if name not in ATTACKS]
        checks = (
            (bool(self.attacks) and not unknown, f"attacks of {', '.join(ATTACKS)}", ", ".join(unknown) or "none"),
            (0 < self.epsilon <= 1, "epsilon in (0, 1], in units of the range of pixels", self.epsilon),
            (self.steps >= 1, "steps >= 1", self.steps),
            (0 < self.step_size <= 1, "step-size in (0, 1], in units of the range of pixels", self.step_size),
            (self.restarts >= 1, "restarts >= 1", self.restarts),
        )
        for is_valid, expected, got in checks:
            if not is_valid:
                raise ConfigError(expected, str(got), "choose among them; 8/255 is 0.0314")
        refuse_unread(self, _READ_BY, chosen=self.attacks, choice="attack")


def evaluate_under_attack(
    reader: Reader, split: EvaluationSplit, *, config: AttackConfig, seed: int
) -> list[EvaluationRow]:
    """Measure the head that predicts on a split, clean, under each attack, and under the worst of them for each image.

    Attacks change pixels in [0, 1]; the network, its normalisation included, is in evaluation mode and float32, and
    sees the images untransformed. An attack that makes things no worse leaves its image as it was, so no accuracy is
    above the clean one.

    Args:
        reader: of the method, which is attacked through ``predict``; its autocast is not used. Its batch size is that
            of the images attacked together; with random starts it has a part in the numbers drawn.
        split: images and their classes.
        config: which attacks, and how strong.
        seed: of random starts and noise.

    Returns:
        Rows for these splits: the clean one under its own name, ``NAME/ATTACK`` for every attack, and
        ``NAME/all_attacks``, where an image counts only if it is told under every one. The accuracy under attack is an
        upper bound of the true one in the ball: another attack may find more.

    Raises:
        ConfigError: foolbox is missing, no head predicts, or the task has no classes.
        DataError: the split has no image.
        NonFiniteError: the logits are not all finite.

    Cost: per image and start about ``steps`` forward and backward passes of ``pgd``, ``pgd_margin`` and ``momentum``;
    100 of ``fmn``; up to 50 of ``deepfool``, each with a backward pass for every class up to ten; 100 forward passes of
    ``noise``.
    """
    foolbox = _import_foolbox()
    head, target = reader.require_head(), reader.require_answers("attacks")
    names = [split.name, *(f"{split.name}/{attack}" for attack in config.attacks), f"{split.name}/all_attacks"]
    tallies = reader.tallies(split, len(names))[head]
    method = reader.method
    with evaluation_mode(method), _without_weight_gradients(method):
        for number, batch in enumerate(reader.batches(split)):
            normalisation = reader.normalised(batch).normalisation
            assert normalisation is not None  # the pipeline has run
            network, pixels = _PixelNetwork(method, normalisation).eval(), batch.images.float() / 255
            batch_seed = derive_seed(seed, "attack", reader.runtime.rank, number)
            worst = _under_each(
                foolbox, network, pixels, batch.targets, reader.task, config, seed=batch_seed, target=target.name
            )
            for tally, outputs in zip(tallies, worst, strict=True):
                tally.add(reader.task.score(outputs, batch.targets), batch.indices)
    columns = split.source.columns
    return [reader.row(name, head, tally.merge(), columns) for name, tally in zip(names, tallies, strict=True)]


def adversarial_images(
    network: nn.Module, pixels: Images, labels: Labels, attack: str, config: AttackConfig, *, seed: int
) -> Images:
    """Return the images that one attack of the library makes, inside the ball and the range of pixels.

    Args:
        network: maps pixels in [0, 1] to class logits; in evaluation mode.
        pixels: shape ``(batch, channels, height, width)``; in [0, 1].
        labels: shape ``(batch,)``; the classes to be left.
        attack: one of :data:`ATTACKS`.
        config: gives epsilon, and steps where the attack has them.
        seed: of random starts and noise.

    Raises:
        ConfigError: there is no such attack, or foolbox is missing.

    Side effects: gradients of the network's weights accumulate, unless they require none.
    """
    AttackConfig(attacks=(attack,))  # refuses an unknown name
    return _attacked(_import_foolbox(), network, pixels, labels, attack, config, seed=seed)


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


def _under_each(
    foolbox: ModuleType,
    network: nn.Module,
    pixels: Images,
    targets: Mapping[str, Tensor],
    task: AbstractTask,
    config: AttackConfig,
    *,
    seed: int,
    target: str,
) -> list[Tensor]:
    """Return the outputs of clean images, under each attack, and under the worst of all for each image."""
    with torch.no_grad():
        clean = network(pixels)
    outputs = [clean]
    for attack in config.attacks:
        worst = clean
        for start in range(config.restarts if attack in _RESTARTED else 1):
            attack_seed = derive_seed(seed, attack, start)
            found = _attacked(foolbox, network, pixels, targets[target], attack, config, seed=attack_seed)
            with torch.no_grad():
                worst = task.worsened(worst, network(found), targets)
        outputs.append(worst)
    overall = clean
    # one after another: "worse" is the task's to say, so there is no maximum over all at once
    for found in outputs[1:]:
        overall = task.worsened(overall, found, targets)
    return [*outputs, overall]


def _attacked(
    foolbox: ModuleType,
    network: nn.Module,
    pixels: Images,
    labels: Labels,
    attack: str,
    config: AttackConfig,
    *,
    seed: int,
) -> Images:
    """Return what an attack made; where it failed to give numbers, the clean image."""
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=pixels.device)
    with global_seed(seed):
        _, found, _ = _ATTACKS[attack](foolbox, config)(model, pixels, labels, epsilons=config.epsilon)
    found = torch.where(found.isfinite(), found, pixels).detach()
    lowest, highest = (pixels - config.epsilon).clamp(0, 1), (pixels + config.epsilon).clamp(0, 1)
    return torch.minimum(torch.maximum(found, lowest), highest)


_Attack: TypeAlias = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""An attack of the library: returns raw and clipped images, and which of them are wrong."""


@runtime_checkable
class _LibraryTensor(Protocol):
    """A tensor as the library wraps it."""

    raw: Tensor


def _pgd(foolbox: ModuleType, config: AttackConfig) -> _Attack:
    """Return projected gradient descent on the cross-entropy from a random start (Madry et al., ICLR 2018)."""
    attack: _Attack = foolbox.attacks.LinfPGD(abs_stepsize=config.step_size, steps=config.steps, random_start=True)
    return attack


def _pgd_margin(foolbox: ModuleType, config: AttackConfig) -> _Attack:
    """Return the same on the logit margin, which does not flatten out as cross-entropy does (Carlini & Wagner 2017)."""
    wrap = importlib.import_module("eagerpy").astensor

    def margin_loss(
        model: Callable[[_LibraryTensor], _LibraryTensor], labels: _LibraryTensor
    ) -> Callable[[_LibraryTensor], object]:
        def loss(inputs: _LibraryTensor) -> object:
            logits = model(inputs).raw
            own = nn.functional.one_hot(labels.raw, logits.shape[1]).bool()
            return wrap((logits.masked_fill(own, -torch.inf).amax(1) - logits[own]).sum())

        return loss

    attack = foolbox.attacks.LinfPGD(abs_stepsize=config.step_size, steps=config.steps, random_start=True)
    attack.get_loss_fn = margin_loss
    made: _Attack = attack
    return made


def _momentum(foolbox: ModuleType, config: AttackConfig) -> _Attack:
    """Return steps along the accumulated gradient of cross-entropy, from the clean image (Dong et al., CVPR 2018)."""
    attack: _Attack = foolbox.attacks.MIFGSM(abs_stepsize=config.step_size, steps=config.steps)
    return attack


def _fmn(foolbox: ModuleType, _: AttackConfig) -> _Attack:
    """Return the search for the nearest wrong image on the logit margin in 100 steps (Pintor et al., NeurIPS 2021)."""
    attack: _Attack = foolbox.attacks.LInfFMNAttack()
    return attack


def _deepfool(foolbox: ModuleType, _: AttackConfig) -> _Attack:
    """Return steps to the nearest linearised boundary of ten classes (Moosavi-Dezfooli et al., CVPR 2016)."""
    attack: _Attack = foolbox.attacks.LinfDeepFoolAttack()
    return attack


def _noise(foolbox: ModuleType, _: AttackConfig) -> _Attack:
    """Return the first wrong one of 100 uniform draws: without gradients, so not misled by useless ones."""
    attack: _Attack = foolbox.attacks.LinfRepeatedAdditiveUniformNoiseAttack(repeats=_NOISE_DRAWS)
    return attack


_ATTACKS: dict[str, Callable[[ModuleType, AttackConfig], _Attack]] = {
    "pgd": _pgd,
    "pgd_margin": _pgd_margin,
    "momentum": _momentum,
    "fmn": _fmn,
    "deepfool": _deepfool,
    "noise": _noise,
}


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
