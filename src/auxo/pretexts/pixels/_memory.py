"""A memory of pixels of earlier steps, a ring for every label."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from auxo.pretexts._projector import unit_rows
from auxo.pretexts.pixels._loss import Keys
from auxo.pretexts.pixels._sampling import PixelSample


class LabelRings(nn.Module):
    """The latest rows of every label, all in buffers, so that checkpoints have them.

    Args:
        num_labels: labels are below it.
        size: rows that are kept of each.
        dim: length of a row.
    """

    rows: Tensor
    images: Tensor
    written: Tensor

    def __init__(self, num_labels: int, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(num_labels, size, dim))
        self.register_buffer("images", torch.zeros(num_labels, size, dtype=torch.int64))
        self.register_buffer("written", torch.zeros(num_labels, dtype=torch.int64))

    @torch.no_grad()
    def write(self, rows: Float[Tensor, "n dim"], labels: Int[Tensor, " n"], images: Int[Tensor, " n"]) -> None:
        """Write rows over the oldest of their labels, in order; of more than a ring holds, the last ones stay."""
        num_labels, size = self.images.shape
        order = labels.argsort(stable=True)
        labels = labels[order]
        counts = (labels.unsqueeze(1) == torch.arange(num_labels, device=labels.device)).sum(0)
        ranks = torch.arange(len(labels), device=labels.device) - (counts.cumsum(0) - counts)[labels]
        stays = ranks >= (counts - size)[labels]
        kept, places = order[stays], ((self.written[labels] + ranks) % size)[stays]
        self.rows[labels[stays], places] = rows[kept].to(self.rows.dtype)
        self.images[labels[stays], places] = images[kept]
        self.written += counts

    def read(self) -> Keys:
        """Return the rows that have been written, by label."""
        num_labels, size = self.images.shape
        positions = torch.arange(size, device=self.images.device)
        filled = positions < self.written.unsqueeze(1)
        labels = torch.arange(num_labels, device=self.images.device).unsqueeze(1).expand(-1, size)
        return Keys(self.rows[filled], labels[filled], self.images[filled])


class PixelMemory(nn.Module):
    """Means of regions and single pixels of earlier steps, to compare with.

    A region is what was drawn of one label in one image. What is written comes from rows that all processes have
    alike, so the memories of all processes are equal.

    Source: ContrastiveSeg (Wang et al., ICCV 2021), whose released code never stores label 0, stores pixels of any
    label under each, moves on by one place when it has written several, and lets random rows act as negatives until a
    ring is full. None of that is done here.

    Args:
        num_labels: labels are below it.
        size: means, and pixels, that are kept of each label.
        dim: length of a row.
        pixels_per_label: pixels that are stored of a label in an image, at most.
    """

    def __init__(self, num_labels: int, *, size: int, dim: int, pixels_per_label: int) -> None:
        super().__init__()
        self.regions = LabelRings(num_labels, size, dim)
        self.pixels = LabelRings(num_labels, size, dim)
        self.pixels_per_label = pixels_per_label

    def read(self) -> Keys:
        """Return all that has been written."""
        means, pixels = self.regions.read(), self.pixels.read()
        return Keys(*(torch.cat(parts) for parts in zip(means, pixels, strict=True)))

    @torch.no_grad()
    def write(self, rows: Float[Tensor, "samples dim"], sample: PixelSample, images: Int[Tensor, " samples"]) -> None:
        """Write what was drawn in a step, after its loss: a pixel would be its own positive otherwise.

        Args:
            rows: of the joined batch, of length one.
            sample: the pixels.
            images: a number for each one's image, the same in every step.
        """
        is_first = sample.ranks == 0
        regions = is_first.cumsum(0) - 1
        belongs = (regions == torch.arange(int(is_first.sum()), device=rows.device).unsqueeze(1)).to(rows.dtype)
        # A product, since adding by index has no fixed order on a GPU; the length of a mean is made one anyway.
        self.regions.write(unit_rows(belongs @ rows), sample.labels[is_first], images[is_first])
        kept = sample.ranks < self.pixels_per_label
        self.pixels.write(rows[kept], sample.labels[kept], images[kept])
