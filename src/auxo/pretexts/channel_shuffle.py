"""Tell in which order the colour channels of one quadrant stand."""

from dataclasses import dataclass
from itertools import permutations

from torch import Tensor

from auxo.errors import ShapeError
from auxo.pretexts._quadrants import AbstractQuadrantPretext

SOURCE = (
    "After the released code of Ruslim, Yudistira, Setiawan, Mixture of Self-Supervised Learning (arXiv 2307.14897; "
    "github.com/aristorenaldo/G-SSL); of the paper only the abstract and a figure could be read. The channels of a "
    "uniformly drawn quadrant are put in one of the six orders, uniformly drawn; the answer does not name the "
    "quadrant. As there, channels are exchanged after normalisation where there is one."
)

ORDERS = tuple(permutations(range(3)))
"""The six orders, lexicographic: RGB, RBG, GRB, GBR, BRG, BGR; channel ``j`` of the result was ``ORDERS[code][j]``."""


@dataclass(frozen=True)
class ChannelShuffle(AbstractQuadrantPretext):
    """Prediction of the order of the channels in one quadrant: six classes, lexicographic.

    Has no answer where the channels are equal, as in grey images.

    Example:
        >>> import torch
        >>> image = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
        >>> made = ChannelShuffle().make_all(image)
        >>> made.inputs[:6, :, 0, 0].int().tolist()
        [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]]
    """

    @property
    def num_codes(self) -> int:
        """Six orders of three channels."""
        return len(ORDERS)

    def transform(self, quadrant: Tensor, code: int) -> Tensor:
        """Return a quadrant of shape ``(3, side, side)`` with its channels in the order ``ORDERS[code]``.

        Raises:
            ShapeError: there are not three channels.
        """
        if len(quadrant) != 3:
            raise ShapeError("images of 3 channels to shuffle", f"{len(quadrant)}", "use another pretext for them")
        return quadrant[list(ORDERS[code])]
