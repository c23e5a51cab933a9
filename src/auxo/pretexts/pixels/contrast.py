"""Bring pixels of one label together and those of other labels apart, across images."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from auxo.errors import ConfigError, OptionError
from auxo.interfaces import PretextLoss
from auxo.options import Range
from auxo.pretexts._projector import in_float32, unit_rows
from auxo.pretexts.pixels._interface import NOT_SHARED, AbstractPixelObjective, PixelObjectiveConfig
from auxo.pretexts.pixels._loss import Form, Negatives, Positives, pixel_contrast_loss
from auxo.pretexts.pixels._memory import PixelMemory
from auxo.pretexts.pixels._rows import check_rows, draw_jointly, join_own, pick_rows, pixel_projector
from auxo.pretexts.pixels._sampling import PixelSampling, find_largest_group
from auxo.random import Draws
from auxo.runtime import Runtime
from auxo.types import Batch

SOURCE = (
    "After Zhang, Torr, Ranftl, Richter, Looking Beyond Single Images for Contrastive Semantic Segmentation Learning, "
    "NeurIPS 2021, of which only the abstract could be read and no code exists: that positives and negatives are "
    "chosen by auxiliary labels across images is theirs, everything else is a reconstruction. Sampling, loss, "
    "projector and memory are after ContrastiveSeg (Wang et al., ICCV 2021, arXiv 2101.11939, "
    "github.com/tfzhou/ContrastiveSeg); form=zhao and negatives=same_image after Zhao et al. (ICCV 2021, arXiv "
    "2012.06985, github.com/google-research/google-research). Differs: pixels are drawn uniformly, not half from those "
    "that a classifier gets wrong; batch norm of the projector sees drawn pixels alone (projects=map: all, as "
    "released); no bias before batch norm; a label with few pixels gives those it has; a region of the memory is what "
    "was drawn of it, and its faults are left out; anchors without positives are left out instead of dividing by 0."
)


class Contrast(AbstractPixelObjective):
    """A projector on the pixels that are drawn, and the loss :func:`pixel_contrast_loss` of what it makes of them.

    Args:
        config: options.
        num_channels: of the features.
        num_labels: labels are below it; needed with a memory alone.
        seed: the run's seed.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PixelObjectiveConfig):
        """Options of the contrast of pixels."""

        sampling: PixelSampling = field(default_factory=PixelSampling)
        """Which pixels are compared."""
        temperature: Annotated[float, Range(above=0)] = 0.1
        """What cosines are divided by. ContrastiveSeg: 0.1, or 0.07; Zhao et al.: 0.07."""
        base_temperature: Annotated[float, Range(above=0)] | None = None
        """The loss is multiplied by the temperature over it, as ContrastiveSeg does with 0.07; none leaves it."""
        positives: Positives = "all"
        """Pixels of the anchor's label: all, those of other images, or those of its own image."""
        negatives: Negatives = "all"
        """Pixels of other labels: all, or those of the anchor's own image, as Zhao et al. have it."""
        form: Form = "contrastive_seg"
        """The denominator has the positive itself and the negatives (contrastive_seg), or all positives and negatives
        (supcon); zhao is the first with the anchor as its own positive, and anchors without negatives count."""
        num_layers: Annotated[int, Range(low=0)] = 2
        """Of the projector; hidden ones are as wide as the features. 0 compares the features themselves."""
        outputs: Annotated[int, Range(low=2)] = 256
        """Length of an embedding, as in both sources. With 32, embeddings of generated scenes stayed alike for long."""
        projects: Literal["sample", "map"] = "sample"
        """What the projector is applied to: the pixels that are drawn, so that no other moves its batch norm, or all
        pixels, as released."""
        memory: Annotated[int, Range(low=0)] = 0
        """Region means, and pixels, of earlier steps that are kept of each label to compare with; 0 keeps none.
        ContrastiveSeg: 5000."""
        memory_pixels: Annotated[int, Range(low=1)] = 10
        """Pixels that a step adds to the memory of each label and image, at most."""

        def build(self, num_channels: int, *, num_labels: int | None, seed: int) -> "Contrast":
            """See :meth:`PixelObjectiveConfig.build`."""
            return Contrast(self, num_channels, num_labels=num_labels, seed=seed)

    def __init__(self, config: Config, num_channels: int, *, num_labels: int | None, seed: int) -> None:
        super().__init__()
        self.config = config
        layers, outputs = config.num_layers, config.outputs
        self.dim = outputs if layers else num_channels
        self.projector = pixel_projector(num_channels, num_layers=layers, outputs=outputs, seed=seed)
        self.memory: PixelMemory | None = None
        if config.memory:
            if num_labels is None:
                fix = "choose another labeller, or leave the objective's memory at 0"
                raise ConfigError("labels that images share for a memory of pixels", NOT_SHARED, fix)
            each = config.memory_pixels
            self.memory = PixelMemory(num_labels, size=config.memory, dim=self.dim, pixels_per_label=each)

    def check_labels(self, labels: Int[Tensor, "n _ _"]) -> None:
        """Refuse labels none of which has pixels enough in any image: every step would have the loss 0."""
        least, largest = self.config.sampling.min_pixels, find_largest_group(labels)
        if largest < least:
            size = f"{labels.shape[1]}x{labels.shape[2]}"
            rule = f"<= {largest}, most pixels of a label in an image at the {size} features"
            raise OptionError("sampling.min_pixels", rule, str(least), "lower it, or choose a finer decoder")

    def forward(
        self,
        features: Float[Tensor, "batch channels _ _"],
        labels: Int[Tensor, "batch height width"],
        *,
        batch: Batch,
        draws: Draws,
        runtime: Runtime,
    ) -> PretextLoss:
        """See :meth:`AbstractPixelObjective.forward`; ``embeddings``: those of all drawn pixels, or zeros."""
        config, size = self.config, (features.shape[2], features.shape[3])
        drawn, images = draw_jointly(labels, size, sampling=config.sampling, batch=batch, draws=draws, runtime=runtime)
        if len(images) < 2:  # nothing to compare, and too few for batch norm
            nothing = features.new_zeros(1, self.dim, dtype=torch.float32)  # every step has the same metrics
            return PretextLoss(0 * in_float32(features).sum(), nothing)
        with runtime.autocast():
            if config.projects == "map":
                projected = self.projector(features.movedim(1, -1).flatten(0, 2))
                features = projected.unflatten(0, (len(batch), *size)).movedim(-1, 1)
                rows = pick_rows(features, drawn, batch)
            else:
                rows = pick_rows(features, drawn, batch)
                check_rows(rows, runtime)
                rows = self.projector(rows)
        with torch.autocast(rows.device.type, enabled=False):
            joined = join_own(unit_rows(in_float32(rows)), drawn, batch, runtime)
            loss = pixel_contrast_loss(
                joined,
                drawn.labels,
                images,
                temperature=config.temperature,
                positives=config.positives,
                negatives=config.negatives,
                form=config.form,
                base_temperature=config.base_temperature,
                keys=None if self.memory is None else self.memory.read(),
            )
        if self.memory is not None and self.training:
            self.memory.write(joined.detach(), drawn, images)
        return PretextLoss(loss, joined.detach())
