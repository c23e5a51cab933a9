"""Projected gradient descent: raise a loss by small steps on the pixels, within a ball around the clean image."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.errors import OptionError
from auxo.layers.batch_norm import use_running_statistics
from auxo.options import Options, Range
from auxo.random import Draws
from auxo.types import Images, Normalisation

SOURCE = """\
Madry, Makelov, Schmidt, Tsipras & Vladu, Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018
(https://arxiv.org/abs/1706.06083), Section 2.1: sign steps on the pixels, projected onto the ball of the maximum norm
around the clean image, from a uniformly drawn start. Epsilon 8/255 and step 2/255 are the paper's for CIFAR-10.
Batch norm in evaluation mode during the attack is ours. The literal mode has three faults of released code for training
with self-supervision (https://github.com/hendrycks/ss-ood, https://github.com/aristorenaldo/G-SSL; the second has all
three): the start overwrites the clean image, so that the ball is centred on the noise and the deviation reaches 2
epsilon; a step of 2/225 where 2/255 must be meant; batch norm in training mode, its running statistics updated at every
step of the attack.
"""

_LITERAL_STEP_FACTOR = 255 / 225  # 2/225 written for 2/255


@dataclass(frozen=True, kw_only=True)
class PGDConfig(Options):
    """How training images are attacked before a step is taken on them; without steps, no other option is read."""

    steps: Annotated[int, Range(low=0)] = 0
    """Steps of the attack, each one forward and backward pass; 0 means no attack, 10 is usual in training."""
    epsilon: Annotated[float, Range(low=0, high=1)] = 8 / 255
    """Largest change of a pixel, in units of the range 0..1; 8/255 is usual on CIFAR."""
    step_size: Annotated[float, Range(above=0, high=1)] = 2 / 255
    """Change of every pixel in one step, in units of the range 0..1."""
    random_start: bool = True
    """Start from a uniform draw in the ball rather than from the clean image."""
    literal: bool = False
    """Attack as released code does: around the noised image, so up to 2 epsilon; steps longer by 255/225; batch norm
    in training mode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps == 0:
            changed = [item.name for item in fields(self) if getattr(self, item.name) != item.default]
            if changed:
                rule = f">= 1 beside {changed[0].replace('_', '-')}"
                raise OptionError("steps", rule, "0", "10 steps are usual in training")

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return self.steps > 0 and self.epsilon > 0


@contextmanager
def attack_mode(module: nn.Module, config: PGDConfig) -> Iterator[None]:
    """Run the block, an attack, with batch norm in evaluation mode, so that images do not depend on one another.

    In the literal mode everything is left as it is: batch norm normalises by the attacked batch, and its running
    statistics move at every step. Dropout and other layers keep their mode.

    Args:
        module: what the attack runs through.
        config: of the attack.
    """
    if config.literal:
        yield
        return
    with use_running_statistics(module):
        yield


def projected_gradient_descent(
    images: Images,
    normalisation: Normalisation,
    objective: Callable[[Images], Float[Tensor, ""]],
    config: PGDConfig,
    *,
    draws: Draws,
) -> Images:
    """Return images within epsilon of the given ones on which the objective is higher.

    ``x <- clip(project(x + step_size * sign(grad objective(x))))``, in pixels: ``project`` moves every pixel to within
    epsilon of the clean one, ``clip`` into [0, 1]. The last iterate is returned.

    Args:
        images: shape ``(batch, channels, height, width)``; network inputs; left as they are.
        normalisation: how they were made from pixels in [0, 1].
        objective: maps network inputs to a scalar, the loss to be raised, summed over the images and attached to the
            graph.
        config: strength; if it is off, the images themselves are returned.
        draws: of the random start, per image of the joined batch.

    Returns:
        New network inputs, detached, of the same shape, dtype, device and memory format.

    Source: Madry et al., ICLR 2018, Section 2.1 (https://arxiv.org/abs/1706.06083).

    Side effects: those of the objective's forward pass; no ``.grad`` is touched.

    Cost: ``steps`` forward and backward passes; five copies of the images.

    Example:
        >>> from auxo.random import named_generator
        >>> plain = Normalisation(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
        >>> grey, draws = torch.full((1, 1, 2, 2), 0.5), Draws(named_generator(0, "attack"))
        >>> config = PGDConfig(steps=10, epsilon=0.1, step_size=0.03)
        >>> projected_gradient_descent(grey, plain, torch.sum, config, draws=draws).flatten()
        tensor([0.6000, 0.6000, 0.6000, 0.6000])
    """
    if not config.is_on:
        return images
    centre = normalisation.to_pixels(images.detach())
    start = centre
    if config.random_start:
        noise = 2 * draws.uniform(len(images), tuple(images.shape[1:])) - 1
        start = centre + config.epsilon * noise.to(centre.dtype).to(centre.device)
    if config.literal:
        centre, step_size = start, config.step_size * _LITERAL_STEP_FACTOR
    else:
        start, step_size = start.clamp(0, 1), config.step_size
    lowest, highest = (centre - config.epsilon).clamp(0, 1), (centre + config.epsilon).clamp(0, 1)
    pixels = start
    for _ in range(config.steps):
        inputs = normalisation.to_inputs(pixels).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(objective(inputs), inputs)
        pixels = torch.minimum(torch.maximum(pixels + step_size * gradient.sign(), lowest), highest)
    return normalisation.to_inputs(pixels)
