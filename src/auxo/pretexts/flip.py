"""Tell whether one quadrant of an image was flipped."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from auxo.pretexts._quadrants import AbstractQuadrantPretext

SOURCE = (
    "After the released code of Ruslim, Yudistira, Setiawan, Mixture of Self-Supervised Learning (arXiv 2307.14897; "
    "github.com/aristorenaldo/G-SSL); of the paper only the abstract and a figure could be read. A uniformly drawn "
    "quadrant is flipped with probability 1/2; the answer does not name the quadrant. The release flips left and right "
    "in its adversarial and Tiny-ImageNet scripts, as the figure shows (horizontal, our default), and top and bottom "
    "in its long-tailed scripts (vertical)."
)

FlipAxis: TypeAlias = Literal["horizontal", "vertical"]


@dataclass(frozen=True)
class Flip(AbstractQuadrantPretext):
    """Flip prediction on one quadrant: two classes, as it was and flipped.

    Example:
        >>> import torch
        >>> made = Flip().make_all(torch.arange(16.0).view(1, 1, 4, 4))
        >>> made.inputs[1, 0, :2, :2].tolist(), made.targets.tolist()
        ([[1.0, 0.0], [5.0, 4.0]], [0, 1, 0, 1, 0, 1, 0, 1])
    """

    axis: FlipAxis = "horizontal"
    """What is exchanged: left and right, or top and bottom as in the released long-tailed scripts."""

    @property
    def num_codes(self) -> int:
        """As it was, and flipped."""
        return 2

    def transform(self, quadrant: Tensor, code: int) -> Tensor:
        """Return a quadrant of shape ``(channels, side, side)`` flipped if ``code`` is 1."""
        if code == 0:
            return quadrant
        return quadrant.flip(2 if self.axis == "horizontal" else 1)
