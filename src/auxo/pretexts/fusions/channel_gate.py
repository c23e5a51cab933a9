"""Gate every channel of every encoder by what all of them see of the image."""

from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.options import Range
from auxo.pretexts.fusions._interface import EncoderShapes
from auxo.pretexts.fusions._mixture import AbstractMixture, Mixed, MixtureConfig
from auxo.random import derive_seed, global_seed

SOURCE = (
    "Ours, another reading of the word squeeze in the abstract of Yao et al., arXiv 2204.05248: gates of the form of "
    "Hu, Shen, Sun, Squeeze-and-Excitation Networks, CVPR 2018 (arXiv 1709.01507), over the encoders' projections."
)


class ChannelGate(AbstractMixture):
    r"""The sum of the encoders' projections, each channel at a gate: ``s = sum_k g_k * v_k``.

    .. math:: g = \sigma(A_2 \mathrm{ReLU}(A_1 [v_1; \dots; v_K])) \in (0, 1)^{K m} .

    Told is each encoder's part in the sum of its image's gates.

    Args:
        config: options.
        shapes: of the encoders.
    """

    weighs = True

    @dataclass(frozen=True, kw_only=True)
    class Config(MixtureConfig):
        """Options of gates."""

        reduction: Annotated[int, Range(low=1)] = 4
        """The hidden layer of the gates has the width over this, at least one unit."""

        def build(self, shapes: EncoderShapes) -> "ChannelGate":
            """Return the fusion."""
            return ChannelGate(self, shapes)

    def __init__(self, config: Config, shapes: EncoderShapes) -> None:
        super().__init__(config, shapes)
        self.gates = nn.ModuleList()
        with global_seed(derive_seed(shapes.seed, "init", "fusion", "gate")):
            for level in range(len(shapes.widths[0])):
                width = config.find_width(shapes, level)
                both, hidden = width * len(shapes.names), max(1, width // config.reduction)
                self.gates.append(
                    nn.Sequential(nn.Linear(both, hidden), nn.ReLU(), nn.Linear(hidden, both), nn.Sigmoid())
                )

    def mix(
        self, level: int, values: Float[Tensor, "batch encoders width"], own: Float[Tensor, "batch _"] | None
    ) -> Mixed:
        """Return the gated sum, and each encoder's part in the gates."""
        del own
        gates = self.gates[level](values.flatten(1)).view_as(values)
        opened = gates.sum(2)  # gates do not compete, so only their shares compare with weights of attention
        shares = opened / opened.sum(1, keepdim=True).clamp_min(torch.finfo(opened.dtype).tiny)
        return Mixed((gates * values).sum(1), shares.unsqueeze(1))
