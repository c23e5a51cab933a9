"""Several tasks on one quadrant of one image, each with its own answer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.errors import OptionError, ShapeError
from auxo.interfaces import AbstractImagePretext, PretextBatch, PretextHead
from auxo.pretexts._quadrants import AbstractQuadrantPretext, find_quadrant_pretexts, make_all_quadrants, make_quadrants
from auxo.random import Draws
from auxo.registry.outside import absolute_name
from auxo.types import Images, Losses

SOURCE = (
    "After the released code of Ruslim, Yudistira, Setiawan, Mixture of Self-Supervised Learning (arXiv 2307.14897; "
    "github.com/aristorenaldo/G-SSL); of the paper only the abstract and a figure could be read. As there, one "
    "quadrant is flipped, then rotated, then its channels are shuffled, all drawn independently; only the answer of "
    "the rotation names the quadrant. Our answers stand in the order of the parts."
)


@dataclass(frozen=True)
class Compose(AbstractImagePretext):
    """One input, several answers: every part acts on the same quadrant, one after the other.

    The head is the parts' heads side by side: its outputs are cut into one block for each part by :meth:`split`. A
    linear head of this width is the same as one linear head for each part. Evaluation measures each part alone.

    Example:
        >>> pretext = Compose()
        >>> made = pretext.make_all(torch.arange(48.0).view(1, 3, 4, 4))
        >>> made.targets.shape, made.targets[47].tolist()
        (torch.Size([192, 3]), [1, 3, 5])
        >>> [tuple(block.shape) for block in pretext.split(torch.zeros(192, pretext.num_outputs))]
        [(192, 2), (192, 16), (192, 6)]
    """

    parts: tuple[str, ...] = ("flip", "lorot", "channel_shuffle")
    """Pretexts that change one quadrant, in the order in which they are applied, each with its own defaults."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "parts", tuple(map(absolute_name, self.parts)))
        if not self.pretexts:  # refuses what changes more than a quadrant
            raise OptionError("parts", "of one pretext or more", "none", "name flip, lorot or channel_shuffle")

    @property
    def pretexts(self) -> tuple[AbstractQuadrantPretext, ...]:
        """The pretexts themselves, in order."""
        return find_quadrant_pretexts(self.parts, option="parts")

    @property
    def num_outputs(self) -> int:
        """The outputs of all parts."""
        return sum(part.num_outputs for part in self.pretexts)

    @property
    def chance(self) -> None:
        """There is one for each part, and none for all."""
        return None

    def measured(self, answer: Callable[[Tensor], Tensor]) -> dict[str, PretextHead]:
        """Return each part, by name, with its block of the outputs."""

        def answer_part(number: int) -> Callable[[Tensor], Tensor]:
            return lambda images: self.split(answer(images))[number]

        return {part.label: PretextHead(part, answer_part(number)) for number, part in enumerate(self.pretexts)}

    def make(self, images: Images, *, draws: Draws) -> PretextBatch:
        """Make one input of every image; draws a quadrant, then a code for each part.

        Returns:
            Targets: int64 of shape ``(batch, parts)``.
        """
        return make_quadrants(images, self.pretexts, draws)

    def make_all(self, images: Images) -> PretextBatch:
        """Make every quadrant and combination of codes: with the default parts 192 blocks of the size of the batch.

        Quadrants run slowest, the last part's codes fastest. For the accuracy of one head, the ``make_all`` of its part
        alone is far smaller.

        Returns:
            Targets: int64 of shape ``(n, parts)``.
        """
        return make_all_quadrants(images, self.pretexts)

    def split(self, outputs: Float[Tensor, "n outputs"]) -> tuple[Float[Tensor, "n _"], ...]:
        """Cut the outputs of the joined head into one block for each part.

        Raises:
            ShapeError: there are not ``num_outputs`` of them.
        """
        if outputs.shape[1] != self.num_outputs:
            raise ShapeError(f"{self.num_outputs} outputs", f"{outputs.shape[1]}", "build the head from num_outputs")
        return tuple(outputs.split([part.num_outputs for part in self.pretexts], 1))

    def part_losses(self, outputs: Tensor, targets: Int[Tensor, "n parts"]) -> Float[Tensor, "n parts"]:
        """Return the loss of every part on every image, nats, attached to the graph: what a gate weighs."""
        blocks = zip(self.pretexts, self.split(outputs), targets.unbind(1), strict=True)
        return torch.stack([part.loss(block, answers) for part, block, answers in blocks], 1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Losses:
        """Return for every image the plain sum of the parts' losses in nats."""
        return self.part_losses(outputs, targets).sum(1)
