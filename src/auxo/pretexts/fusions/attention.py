"""Weigh the encoders by attention: for every image, for the whole task, or by what a network of its own sees."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import OptionError
from auxo.options import Range
from auxo.pretexts.fusions._interface import EncoderShapes, Fused, FusionStep, joined_mean
from auxo.pretexts.fusions._mixture import AbstractMixture, Mixed, MixtureConfig
from auxo.random import derive_seed, global_seed

SOURCE = (
    "Inspired by the abstract of Yao, Wu, Feng, Chen, Learning Downstream Task by Selectively Capturing Complementary "
    "Knowledge from Multiple Self-supervisedly Learning Pretexts, arXiv 2204.05248, whose text could not be read. It "
    "speaks of an attention mechanism that squeezes suitable representations; every formula, option and default here "
    "is ours."
)

_SMALLEST = 1e-12  # below it ln would be taken of 0 where a weight has vanished


class _Scores(nn.Module):
    """How much each encoder suits an image, for each head.

    Args:
        config: options.
        width: of a value.
        own_features: of the run's own network.
    """

    def __init__(self, config: "Attention.Config", width: int, own_features: int) -> None:
        super().__init__()
        self.num_heads = config.heads
        self.task = nn.Parameter(torch.randn(width))
        # Zero, so that every image begins with equal weights; the first gradient moves it all the same.
        self.keys = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.keys.weight)
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        reads = {"instance": width, "task_encoder": own_features}
        self.query = nn.Linear(reads[config.query], width, bias=False) if config.query in reads else None

    def forward(
        self, values: Float[Tensor, "batch encoders width"], read: Float[Tensor, "batch _"]
    ) -> Float[Tensor, "batch heads encoders"]:
        """Return the scores of the values for what the query reads."""
        asked = self.task if self.query is None else self.query(read) + self.task
        query = self.norm(asked).expand(values.shape[0], -1).unflatten(1, (self.num_heads, -1))
        keys = self.keys(values).unflatten(2, (self.num_heads, -1))
        return torch.einsum("bhd,bkhd->bhk", query, keys) / cast("float", query.shape[2] ** 0.5)


class Attention(AbstractMixture):
    r"""One vector of all encoders, in which each counts as the attention says.

    With values ``v_k = LN(W_k z_k + b_k)`` of width m, a query ``q`` and K encoders,

    .. math:: a_k = \langle q, P v_k \rangle / \sqrt m, \qquad \alpha = \mathrm{softmax}(a / \tau), \qquad
              s = \sum_k \alpha_k v_k .

    ``query`` says what asks: ``instance``, ``q = LN(Q mean_k v_k + q_0)``; ``global``, ``q = LN(q_0)``, which is the
    same for all images, while the keys ``P v_k`` are not; ``static``, ``alpha = softmax(beta / tau)`` with learned
    ``beta``, one weight for all images; ``task_encoder``, ``q = LN(Q f(x) + q_0)`` with the run's own network ``f``,
    which is trained. With several heads each has a part of the width and weights of its own.

    A weight says what the vector is made of. It is no measure of what an encoder is good for where values differ in
    length.

    Args:
        config: options.
        shapes: of the encoders.
    """

    weighs = True

    @dataclass(frozen=True, kw_only=True)
    class Config(MixtureConfig):
        """Options of attention."""

        query: Literal["instance", "global", "static", "task_encoder"] = "instance"
        """What asks: all the encoders see of the image; a learned vector; nothing, so that all images have the same
        weights; or the run's own network, which is trained along (--backbone)."""
        heads: Annotated[int, Range(low=1)] = 1
        """Parts of the width, each with weights of its own."""
        temperature: Annotated[float, Range(above=0)] = 1.0
        """What scores are divided by: near 0 chooses one encoder, large values take their mean."""
        entropy_bonus: Annotated[float, Range(low=0)] = 0.0
        """Weight of the entropy of a batch's mean attention, which keeps encoders from being dropped early; 0 to
        0.1."""
        match: Annotated[float, Range(low=0)] = 0.0
        """Weight of the squared distance of the vector to the values, each at its mean attention; a variant."""

        @property
        def reads_own(self) -> bool:
            """Whether the run's own network asks."""
            return self.query == "task_encoder"

        def build(self, shapes: EncoderShapes) -> "Attention":
            """Return the fusion."""
            for level in range(len(shapes.widths[0])):
                if (width := self.find_width(shapes, level)) % self.heads:
                    rule, fix = f"that divides the width {width}", "choose another, or another width"
                    raise OptionError("heads", rule, str(self.heads), fix)
            return Attention(self, shapes)

    def __init__(self, config: Config, shapes: EncoderShapes) -> None:
        super().__init__(config, shapes)
        self.config = config
        levels = range(len(shapes.widths[0]))
        if config.query == "static":
            count = len(shapes.names)
            self.static = nn.ParameterList(torch.zeros(config.heads, count) for _ in levels)
            return
        with global_seed(derive_seed(shapes.seed, "init", "fusion", "attention")):
            self.scores = nn.ModuleList(
                _Scores(config, config.find_width(shapes, level), shapes.own_features) for level in levels
            )

    def mix(
        self, level: int, values: Float[Tensor, "batch encoders width"], own: Float[Tensor, "batch _"] | None
    ) -> Mixed:
        """Return the values' mean at the weights of the attention, and those."""
        heads = self.config.heads
        if self.config.query == "static":
            scores = self.static[level].expand(values.shape[0], -1, -1)
        else:
            scores = self.scores[level](values, own if self.config.reads_own else values.mean(1))
        weights = functional.softmax(scores / self.config.temperature, 2)
        mixed = torch.einsum("bhk,bkhd->bhd", weights, values.unflatten(2, (heads, -1)))
        return Mixed(mixed.flatten(1), weights)

    def further_losses(self, fused: Fused, step: FusionStep) -> Mapping[str, Float[Tensor, ""]]:
        r"""Return ``entropy_loss``, ``-eta H(mean alpha)``, and ``match_loss``, ``sum_k mean alpha_k |s - v_k|^2 / m``.

        Values are detached in the latter. With several heads and levels both are means over them.
        """
        losses: dict[str, Tensor] = {}
        if fused.weights is None or not (self.config.entropy_bonus or self.config.match):
            return losses
        mean = joined_mean(fused.weights.flatten(1), step).unflatten(0, fused.weights.shape[1:])
        if self.config.entropy_bonus:
            negative = (mean * mean.clamp_min(_SMALLEST).log()).sum(1).mean()
            losses["entropy_loss"] = self.config.entropy_bonus * negative
        if self.config.match:
            apart = []
            for vector, values in zip(fused.vectors, fused.values, strict=True):
                squares = (vector.unsqueeze(1) - values.detach()).square()
                apart.append(squares.unflatten(2, (self.config.heads, -1)).mean(3).transpose(1, 2))
            distances = joined_mean(torch.cat(apart, 1).flatten(1), step).view_as(mean)
            losses["match_loss"] = self.config.match * (mean * distances).sum(1).mean()
        return losses
