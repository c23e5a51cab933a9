"""The network that invents labels, and what the records say of them."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from auxo.interfaces import AbstractNetworks
from auxo.layers.heads import hidden_head
from auxo.layers.sub_classes import SubClasses, describe_labels
from auxo.types import Images, Labels, Metrics


class LabellingNetwork(nn.Module):
    """A network of its own whose answer is a soft label over the sub-classes of an image's class.

    It is told the class, so it is of no use where the class is what is asked for.

    Args:
        networks: makes the network, of the shared one's architecture; first weights from the stream ``init/NAME``.
        sub_classes: which sub-classes belong to which class.
        hidden: width of the head's hidden layer; 0 for a linear head.
        leak: see :meth:`auxo.layers.sub_classes.SubClasses.spread`.
        normalises: bring every feature to mean 0 and variance 1 over the batch in front of the head: else labels that
            are all pushed alike can end in features that no longer depend on the image.
        name: of the network; that of its head is ``NAME_head``.

    Attributes:
        backbone: the network.
        head: its head.
    """

    def __init__(
        self,
        networks: AbstractNetworks,
        sub_classes: SubClasses,
        *,
        hidden: int,
        leak: float = 0.0,
        normalises: bool = False,
        name: str = "generator",
    ) -> None:
        super().__init__()
        self.backbone = networks.new(name)
        size = self.backbone.num_features, hidden, sub_classes.total
        self.norm = nn.BatchNorm1d(size[0], affine=False) if normalises else nn.Identity()
        self.head = hidden_head(f"{name}_head", *size, seed=networks.seed)
        self.sub_classes, self._leak = sub_classes, leak

    def forward(self, images: Images, labels: Labels) -> Float[Tensor, "batch total"]:
        """Return the labels, attached to the graph; float32 at least.

        Args:
            images: normalised.
            labels: the class of each image.
        """
        features = self.norm(self.backbone(images).pooled)
        return self.sub_classes.spread(self.head(features), labels, leak=self._leak)

    @torch.no_grad()
    def label(
        self, images: Images, labels: Labels, *, mode: Literal["train", "eval"] = "train"
    ) -> Float[Tensor, "batch total"]:
        """Return the labels without a graph; the network's mode stays as it is.

        Args:
            images: normalised.
            labels: the class of each image.
            mode: with ``eval``, labels do not depend on the batch that an image is in; with ``train``, the network is
                used in the mode that it is in.
        """
        was_training = self.training
        self.train(was_training and mode == "train")
        found: Tensor = self(images, labels)
        self.train(was_training)
        return found


def measure_labels(
    probabilities: Float[Tensor, "n total"],
    labels: Int[Tensor, " n"],
    *,
    num_classes: int,
    join: Callable[[Tensor], Tensor],
) -> Metrics:
    """Return what the records say of labels: their entropy, what they tell of an image, and how many are in use.

    Args:
        probabilities: see :func:`auxo.layers.sub_classes.describe_labels`, as all others.
        labels: the class of each image.
        num_classes: how many there are.
        join: adds a tensor up over the processes.
    """
    told = describe_labels(probabilities, labels, num_classes=num_classes, join=join)
    return {"label_entropy": told.entropy, "label_information": told.information, "labels_used": told.num_used}
