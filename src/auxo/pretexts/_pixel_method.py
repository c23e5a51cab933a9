"""What the methods share that learn from auxiliary labels of pixels: decoder, labels, objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from auxo.errors import OptionError
from auxo.interfaces import (
    AbstractImageReader,
    AbstractMethod,
    AbstractNetworks,
    Exhibit,
    ImageExhibit,
    MethodConfig,
    Prepared,
    PretextLoss,
    StageStart,
    TrainState,
)
from auxo.layers.decoders import DecoderConfig, PixelNetwork, list_unread, measure_maps
from auxo.layers.decoders.unet import UNet
from auxo.layers.heads import pixel_head
from auxo.pretexts._collapse import collapse_metrics
from auxo.pretexts.labellers import LabellerConfig, LabelTools
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.pretexts.pixels import AbstractPixelObjective, PixelObjectiveConfig, shrink_labels
from auxo.pretexts.pixels.contrast import Contrast
from auxo.runtime import Runtime
from auxo.tasks import Segmentation, choose_colours
from auxo.types import Batch, Images, Metrics

_LABELS = "pixel_labels"
_SHOWN_IMAGES, _SHOWN_LABELS = "shown_images", "shown_labels"
_NUM_SHOWN = 8
_GREY = (128, 128, 128)
_MEASURED = 128  # rows of a step: the eigenvalues of all, 256 x 256 numbers, took a tenth of a step of conv4


@dataclass(frozen=True, kw_only=True)
class PixelMethodConfig(MethodConfig):
    """Options of a method that may learn from auxiliary labels of pixels."""

    serves = (Segmentation,)

    decoder: DecoderConfig = field(default_factory=UNet.Config)
    """How the backbone's maps become features of pixels."""
    labeller: LabellerConfig = field(default_factory=PatchEnergy.Config)
    """What labels the pixels of all images before the first step."""
    objective: PixelObjectiveConfig = field(default_factory=Contrast.Config)
    """What pixels learn by these labels."""

    @property
    def shared_parts(self) -> Mapping[str, object]:
        """The decoder."""
        return {"decoder": self.decoder}

    @property
    def uses_labels(self) -> bool:
        """Whether auxiliary labels are made and learned; by default they are."""
        return True

    @property
    def labelled_split(self) -> str:
        """The split whose images get the labels; "images" means all there are."""
        return "images"


class AbstractPixelMethod(AbstractMethod):
    """A method with a decoder on the backbone's maps and, where it uses auxiliary labels, an objective on them.

    Attributes:
        decoder: gives the features of pixels.
        objective: what they learn by auxiliary labels; ``None`` where there are none.
    """

    config: PixelMethodConfig

    def __init__(self, config: PixelMethodConfig, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        task = Segmentation.require(self.task)
        self._networks, self._copies = networks, count(1)
        self._shapes = measure_maps(self.backbone, task.image_shape)
        self._shown: tuple[Tensor, Tensor] | None = None
        try:
            self.decoder = config.decoder.build(self._shapes, seed=networks.seed)
        except OptionError as error:
            raise error.under("decoder") from error
        self.objective: AbstractPixelObjective | None = None
        if config.uses_labels:
            num_labels = config.labeller.num_labels(task.num_outputs)
            self.objective = config.objective.build(
                self.decoder.num_features, num_labels=num_labels, seed=networks.seed
            )

    def decode_images(self, images: Images) -> Float[Tensor, "batch features _ _"]:
        """Return the decoder's features of normalised images."""
        features: Tensor = self.decoder(self.backbone(images).maps)
        return features

    def label_tools(self) -> LabelTools:
        """Return what a labeller may use of the method."""
        return LabelTools(
            num_classes=self.task.num_outputs,
            height=self.task.height,
            width=self.task.width,
            encoder=self.backbone,
            load=lambda source: self._networks.load(f"labeller{next(self._copies)}", source),
            new_segmenter=self._copy_network,
        )

    def begin(self, start: StageStart) -> Prepared:
        """Return the auxiliary label of every pixel, and a few images and their labels to be shown."""
        if not self.config.uses_labels:
            return Prepared()
        split = self.config.labelled_split
        if split == "images":
            split = "unlabelled" if "unlabelled" in start.images else "train"
        images = start.images[split]
        try:
            labels = self.config.labeller.make(images, start, self.label_tools())
        except OptionError as error:
            raise error.under("method", "labeller") from error
        self._check_labels(labels)
        shown = torch.linspace(0, len(images) - 1, min(_NUM_SHOWN, len(images))).long()
        tensors = {_SHOWN_IMAGES: images.pixels(shown), _SHOWN_LABELS: labels[shown]}
        return Prepared(tensors, {split: {_LABELS: labels}}, {_LABELS: -1})

    def auxiliary_loss(self, state: TrainState, batch: Batch, runtime: Runtime) -> PretextLoss:
        """Return the objective of a batch of images that have auxiliary labels.

        Raises:
            ValueError: the method uses no auxiliary labels.
        """
        if self.objective is None:
            raise ValueError("expected a method that uses auxiliary labels, got one without: change its options")
        if _SHOWN_IMAGES in state.prepared:  # kept with the run, so that a resumed one shows them, too
            self._shown = (state.prepared[_SHOWN_IMAGES], state.prepared[_SHOWN_LABELS])
        with runtime.autocast():
            features = self.decode_images(batch.images)
        draws = state.draws("pixels", batch)
        answer: PretextLoss = self.objective(
            features, batch.targets[_LABELS], batch=batch, draws=draws, runtime=runtime
        )
        return answer

    def measure_objective(self, answer: PretextLoss) -> Metrics:
        """Return the objective, and the collapse metrics of at most 128 of the embeddings, spread over the batch."""
        rows = answer.embeddings
        if rows is not None:
            rows = rows[:: -(-len(rows) // _MEASURED)]
        return {"pixel_loss": answer.loss.detach(), **collapse_metrics(rows)}

    def exhibits(self, images: Mapping[str, AbstractImageReader]) -> Sequence[Exhibit]:
        """Return a few images, and below each its auxiliary labels in colours."""
        del images
        if self._shown is None:
            return ()
        shown, labels = (each.cpu() for each in self._shown)
        shown = shown.expand(-1, 3, -1, -1) if shown.shape[1] == 1 else shown[:, :3]
        names = [f"image {number}" for number in range(1, len(labels) + 1)]
        title = "Auxiliary labels of pixels: each colour is a label, grey is none"
        both = torch.cat([shown, colour_labels(labels)])
        return (ImageExhibit(title, both, [*names, *(f"{name}, labels" for name in names)], columns=len(labels)),)

    def frozen_parameters(self) -> dict[str, str]:
        """Return the parts of the backbone that no map leads through which the decoder reads."""
        unread = list_unread(self.backbone, self.decoder, self.task.image_shape)
        return {f"backbone.{name}": "the decoder reads no map behind it" for name in unread}

    def _check_labels(self, labels: Int[Tensor, "n height width"]) -> None:
        """Refuse labels from which the objective cannot learn at the resolution of the features."""
        if self.objective is None:
            return
        size = self._copy_network().measure_features(self.task.image_shape)
        try:
            self.objective.check_labels(shrink_labels(labels, size))
        except OptionError as error:
            raise error.under("method", "objective") from error

    def _copy_network(self) -> PixelNetwork:
        """Return another network for the classes, with the weights of backbone and decoder as they are now."""
        name, seed = f"labeller{next(self._copies)}", self._networks.seed
        backbone = self._networks.new(name)
        backbone.load_state_dict(self.backbone.state_dict())
        decoder = self.config.decoder.build(self._shapes, seed=seed)
        decoder.load_state_dict(self.decoder.state_dict())
        return PixelNetwork(backbone, decoder, pixel_head(name, decoder.num_features, self.task.num_outputs, seed=seed))


def colour_labels(labels: Int[Tensor, "n height width"]) -> UInt8[Tensor, "n 3 height width"]:
    """Return labels as images, each label in a colour of its own, as far as 255 go; negative ones grey."""
    known = choose_colours(min(int(labels.max()) + 1, 255)) if (labels >= 0).any() else ()
    colours = torch.tensor([*known, _GREY], dtype=torch.uint8)
    places = torch.where(labels >= 0, labels.long() % max(len(known), 1), len(known))
    return colours[places].movedim(-1, 1)
