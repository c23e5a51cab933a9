"""A generator of auxiliary data and their targets, from the features and targets of two items each."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from auxo.layers.sub_classes import SubClasses
from auxo.random import derive_seed, global_seed

Made: TypeAlias = Literal["both", "features", "labels"]

_FLOOR = 0.01  # spread over all classes, so that a class that neither item is of can be reached


class TargetBlock(NamedTuple):
    """Numbers that belong to one target.

    Args:
        width: how many there are.
        is_class: whether they are probabilities of classes; else quantities.
    """

    width: int
    is_class: bool


class Items(NamedTuple):
    """What is known of the items of a batch: its images, or the cells of maps of them.

    Args:
        features: shape ``(n, *cells, dim)``.
        numbers: shape ``(n, *cells, k)``; the targets as numbers, side by side.
        known: shape ``(n, *cells, targets)``; 1 where a target says something, 0 where it does not.
    """

    features: Tensor
    numbers: Tensor
    known: Tensor

    def pick(self, places: Int[Tensor, " n"], gather: Callable[[Tensor], Tensor]) -> "Items":
        """Return the items at some places of the joined batch, features attached; of a cell the cell at its place.

        Args:
            places: for each of this process's images.
            gather: maps rows of this process to those of the joined batch; see :func:`auxo.pretexts.gather_from`.
        """
        joined = torch.cat(self, -1)
        rows = gather(joined.flatten(1))[places].view(joined.shape)
        features, numbers, known = rows.split([part.shape[-1] for part in self], -1)
        return Items(features, numbers.detach(), known.detach())  # all came through one message


class Generated(NamedTuple):
    """Generated data.

    Args:
        features: shape ``(n, *cells, dim)``.
        targets: shape ``(n, *cells, k)``; block by block, probabilities of classes or quantities.
        known: shape ``(n, *cells, targets)``; 1 where both items' targets say something.
    """

    features: Tensor
    targets: Tensor
    known: Tensor


def mix_items(own: Items, partner: Items, share: Float[Tensor, ""]) -> Generated:
    r"""Return ``share`` of the one and the rest of the other, in features and targets: manifold mixup.

    Source: Verma et al., Manifold Mixup: Better Representations by Interpolating Hidden States, ICML 2019
        (https://arxiv.org/abs/1806.05236), Eq. 1 and 2.
    """
    features, numbers = (share * a + (1 - share) * b for a, b in zip(own[:2], partner[:2], strict=True))
    return Generated(features, numbers, own.known * partner.known)


class JointGenerator(nn.Module):
    r"""Makes an item from two: its features from theirs, and its targets from all that is known of both.

    With features ``z``, embedded targets ``v = E y`` and perceptrons of one hidden layer,

    .. math:: m = \sigma(\mathrm{MLP}[z_i, z_j, v_i, v_j]), \quad
              \tilde z = m z_i + (1 - m) z_j + s \, \mathrm{MLP}[z_i, z_j], \quad
              \tilde y = \mathrm{softmax}(\mathrm{MLP}[z_i, z_j, v_i, v_j] + \log a),

    where ``a`` mixes the two targets by the mean of ``m``, smoothed by a hundredth. Quantities are ``a`` plus the
    perceptron's answer instead. ``s`` starts at 0: the generator starts as mixup with a weight for every feature.

    The targets are made from features without their graph: what learns from them cannot make them easy. The features
    keep it.

    Args:
        dim: length of a feature vector.
        blocks: what the numbers of the targets are.
        made: generate both, or features alone (the targets are mixed) or labels alone (the features are the item's).
        hidden: width of the hidden layers.
        sub_classes: of a single block of classes: generate sub-classes, those of either item's class.
        seed: of the run; first weights come from the stream ``init/joint_generator``.

    Attributes:
        blocks: what the generated targets are.
    """

    def __init__(
        self,
        dim: int,
        blocks: Sequence[TargetBlock],
        *,
        made: Made = "both",
        hidden: int,
        sub_classes: SubClasses | None = None,
        seed: int,
    ) -> None:
        super().__init__()
        self._given = tuple(blocks)
        self.blocks = self._given if sub_classes is None else (TargetBlock(sub_classes.total, True),)
        self.sub_classes = sub_classes
        given, total = (sum(block.width for block in each) for each in (self._given, self.blocks))
        with global_seed(derive_seed(seed, "init", "joint_generator")):
            self.embedding = nn.Linear(given, dim, bias=False)
            if made != "labels":
                self.gate = _build_perceptron(4 * dim, hidden, dim)
                self.residual = _build_perceptron(2 * dim, hidden, dim)
                self.strength = nn.Parameter(torch.zeros(()))
            if made != "features":
                self.labels = _build_perceptron(4 * dim, hidden, total)
        self._made = made

    def forward(self, own: Items, partner: Items) -> Generated:
        """Return the generated items, attached to the generator, and their features to those of both items."""
        known = own.known * partner.known
        features = own.features if self._made == "labels" else self._make_features(own, partner)
        fixed = (items._replace(features=items.features.detach()) for items in (own, partner))
        return Generated(features, self._make_targets(*fixed), known)

    def _embed_pair(self, own: Items, partner: Items) -> Float[Tensor, "*items wide"]:
        """Return what gate and labels are made of."""
        embedded = [self.embedding(items.numbers) for items in (own, partner)]
        return torch.cat([own.features, partner.features, *embedded], -1)

    def _make_features(self, own: Items, partner: Items) -> Float[Tensor, "*items dim"]:
        """Return features between those of both items, and a learned step off them."""
        gate = torch.sigmoid(self.gate(self._embed_pair(own, partner)))
        step = self.strength * self.residual(torch.cat([own.features, partner.features], -1))
        made: Tensor = gate * own.features + (1 - gate) * partner.features + step
        return made

    def _make_targets(self, own: Items, partner: Items) -> Float[Tensor, "*items total"]:
        """Return the targets, at least float32."""
        pair = self._embed_pair(own, partner)
        if self._made == "labels":
            mixed = own.numbers
        else:
            share = torch.sigmoid(self.gate(pair)).mean(-1, keepdim=True).to(own.numbers)
            mixed = share * own.numbers + (1 - share) * partner.numbers
        if self._made == "features":
            return mixed
        answers = self.labels(pair)
        answers = answers.float() if answers.dtype.itemsize < 4 else answers
        if self.sub_classes is not None:
            return _choose_sub_classes(answers, mixed, own.numbers + partner.numbers, self.sub_classes.owner)
        parts = zip(
            answers.split(self._given_widths, -1), mixed.split(self._given_widths, -1), self.blocks, strict=True
        )
        return torch.cat([_smooth_logs(b, a).softmax(-1) if kind.is_class else a + b for b, a, kind in parts], -1)

    @property
    def _given_widths(self) -> list[int]:
        """Numbers of each given target."""
        return [block.width for block in self._given]


def generated_losses(
    outputs: Float[Tensor, "n *cells total"], made: Generated, blocks: Sequence[TargetBlock]
) -> Float[Tensor, "n ..."]:
    """Return the loss of every generated item, attached to outputs and targets; at least float32.

    Cross-entropy with soft labels where targets are classes, squared error where they are quantities; 0 where one of
    the two items' targets says nothing. Summed over the targets.

    Args:
        outputs: of a head on the generated features.
        made: what they should be.
        blocks: of the generated targets.
    """
    wide = outputs.float() if outputs.dtype.itemsize < 4 else outputs
    widths = [block.width for block in blocks]
    losses: Tensor = wide.new_zeros(wide.shape[:-1])
    parts = zip(wide.split(widths, -1), made.targets.split(widths, -1), made.known.unbind(-1), blocks, strict=True)
    for answer, target, known, block in parts:
        each = -target * functional.log_softmax(answer, -1) if block.is_class else (answer - target).square()
        losses = losses + known * each.sum(-1)
    return losses


def _build_perceptron(num_inputs: int, hidden: int, num_outputs: int) -> nn.Sequential:
    """Return a perceptron with one normalised hidden layer."""
    return nn.Sequential(nn.Linear(num_inputs, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, num_outputs))


def _smooth_logs(answers: Tensor, mixed: Tensor) -> Float[Tensor, "*items width"]:
    """Return answers beside the logarithms of mixed labels, which are smoothed so that they are finite."""
    return answers + ((1 - _FLOOR) * mixed + _FLOOR / mixed.shape[-1]).log()


def _choose_sub_classes(
    answers: Tensor, mixed: Tensor, either: Tensor, owner: Int[Tensor, " total"]
) -> Float[Tensor, "*items total"]:
    """Return probabilities of the sub-classes of both items' classes; of all where neither class is known."""
    allowed = (either > 0)[..., owner]
    allowed = allowed | ~allowed.any(-1, keepdim=True)
    return _smooth_logs(answers, mixed[..., owner]).masked_fill(~allowed, -math.inf).softmax(-1)
